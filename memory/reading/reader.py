"""Reads the queued chunks with a model, one after the other, in the background, while nobody's question runs.

Of replicas one reads at a time, so that the rate is one for all and no two read what belongs together. Facts, what is
set apart, and that the chunk was read are one transaction: killed anywhere, a chunk was read whole or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any, Protocol

from aegis import telemetry
from aegis.database import Database
from aegis.database.leases import Leases
from aegis.database.outbox import Outbox
from aegis.errors import AegisError, BudgetExhausted, StoreUnavailable
from aegis.scope import Scope, group_id
from aegis.settings import ExtractionSettings, ModelRole
from inference import Choice, Model
from inference.prices import Price
from inference.sharing import private_among
from memory.facts.index import FactIndex
from memory.facts.visibility import Epoch
from memory.reading.estimate import SAMPLE, Estimate, Rehearsal, scaled
from memory.reading.quarantine import Quarantine
from memory.reading.queue import Counts, Lost, Reading, ReadingQueue

LEASE, LEASE_SECONDS = "reading", 60.0
HOLD = 20.0  # seconds after which the lease is extended
LOOK = 1.0  # seconds between looks for something to read
FOLLOWS = 5.0  # seconds between looks whether the replica that reads is gone
REST = 60.0  # seconds between looks whether there is a model, or money, again
BACKOFF = 30.0  # seconds until a chunk that failed is tried again; doubled each time
ATTEMPTS = 4
PRIVATE = "Passages of private documents that wait for a model on this machine: {count}."
NO_MODEL = "No model answers that may read these documents."

logger = logging.getLogger(__name__)


class Models(Model, Protocol):
    """`inference.routing.RoutedWriter`."""

    def choice(self, role: ModelRole, *, shareable: bool) -> Choice | None: ...


@dataclass(frozen=True, slots=True)
class Status:
    """`waits`: why nothing is read although something waits. `estimate`: where somebody has to agree to pay first."""

    enabled: bool
    choice: Choice | None
    counts: Counts
    quarantined: int
    waits: str
    failures: Sequence[str] = ()
    estimate: Estimate | None = None


@dataclass
class ModelReader:
    """`turn` is the rate's bound, awaited before each call. `may_send`: whether documents of a collection may leave."""

    settings: ExtractionSettings
    database: Database
    epoch: Epoch
    outbox: Outbox
    models: Models
    queue: ReadingQueue
    quarantine: Quarantine
    index: FactIndex | None
    leases: Leases | None
    now: Callable[[], datetime]
    may_send: Callable[[Sequence[str]], bool]
    collections: Callable[[], Awaitable[frozenset[str]]]
    turn: Callable[[], Awaitable[object]]
    busy: Callable[[], bool] = lambda: False
    waits: str = field(default="", init=False)
    _leading: bool = field(default=False, init=False)
    _leads_until: float = field(default=0.0, init=False)  # by time.monotonic
    _estimated: dict[Any, Estimate] = field(default_factory=dict[Any, Estimate], init=False)  # the newest only
    _queued: int = field(default=-1, init=False)  # the epoch up to which everything is queued
    _awake: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def run(self) -> None:
        """For ever."""
        while True:
            pause = FOLLOWS
            try:
                if await self._leads():
                    pause = await self.step()
            except AegisError as error:
                logger.warning("Reading with a model waits: %s", error.message)
                self.waits = error.message
            except Exception:
                logger.exception("Reading with a model waits")
                pause = REST
            if pause:
                self._awake.clear()
                try:
                    await asyncio.wait_for(self._awake.wait(), pause)
                except TimeoutError:
                    continue

    async def step(self) -> float:
        """Read one chunk, if one is ready; how many seconds to wait before the next step."""
        epoch = await self._renewed()
        if self.busy():
            return LOOK
        payable = await self._payable()
        if payable is not None and not payable:
            return LOOK
        reading = await self.queue.take(epoch, payable)
        if reading is None:
            return LOOK
        holding = asyncio.create_task(self._hold())
        try:
            return await self._read(reading)
        finally:
            holding.cancel()

    async def status(self, scope: Scope) -> Status:
        if self.settings.enabled:
            await self._renewed()
        counts, quarantined = await self.queue.counts(scope), await self.quarantine.total(scope)
        sendable = self._sendable(sorted(scope.collections))
        here = self.models.choice("extraction", shareable=False)
        choice = here or self.models.choice("extraction", shareable=bool(sendable))
        estimate = None
        if self.settings.enabled and here is None and choice is not None and counts.undecided:
            estimate = await self.estimate(scope, sendable, choice)
        failures = await self.queue.failures(scope) if counts.failed else []
        waits = self.waits
        if here is None and counts.undecided and (staying := await self.queue.staying(scope)):
            waits = f"{waits} {PRIVATE.format(count=staying)}".strip()
        return Status(self.settings.enabled, choice, counts, quarantined, waits, failures, estimate)

    async def estimate(self, scope: Scope, collections: Sequence[str], choice: Choice) -> Estimate | None:
        """What reading one's own undecided chunks elsewhere costs, from a sample; None where there are none."""
        sample, total = await self.queue.sample(scope, collections, SAMPLE)
        if not total:
            return None
        of = (scope.user, total, choice, sample[0].chunk_id if sample else "")
        if of not in self._estimated:
            rehearsals = [Rehearsal(reading) for reading in sample]
            for reading, rehearsal in zip(sample, rehearsals, strict=True):
                await self._added(reading, rehearsal, rehearsed=True)
            self._estimated = {of: scaled(rehearsals, total, choice.price or Price(0, 0))}
        return self._estimated[of]

    async def agree(self, scope: Scope) -> int:
        """Go on, with a paid model where it takes one; how many chunks wait for it now."""
        await self._renewed()
        agreed = await self.queue.agree(scope, self._sendable(sorted(scope.collections)))
        self.waits = ""
        self._awake.set()
        return agreed

    async def _renewed(self) -> int:
        """The epoch, whose chunks are all queued."""
        epoch = await self.epoch.epoch()
        while epoch != self._queued:
            if not await self.queue.renew(epoch):
                self._queued = epoch
        return epoch

    def _sendable(self, collections: Sequence[str]) -> list[str]:
        return [name for name in collections if self.may_send([name])]

    async def _payable(self) -> Sequence[str] | None:
        """None where a model costs nothing; else the collections that may be sent to one that does."""
        if self.models.choice("extraction", shareable=False) is not None:
            self.waits = ""
            return None
        sendable = self._sendable(sorted(await self.collections()))
        if sendable and self.models.choice("extraction", shareable=True) is not None:
            self.waits = "" if self.waits == NO_MODEL else self.waits  # what a budget said stays until it is otherwise
            return sendable
        self.waits = NO_MODEL
        return ()

    async def _read(self, reading: Reading) -> float:
        """One chunk; how many seconds to rest."""
        try:
            await self._added(reading, self.models)
        except Lost:
            return 0.0
        except StoreUnavailable:
            raise
        except BudgetExhausted as error:
            self.waits = error.message
            await self._again(reading, error.message, REST, innocent=True)
            return REST
        except Exception as error:  # noqa: BLE001  # whatever a model can make Graphiti do
            await self._failed(reading, error)
            return 0.0
        self.waits = ""
        telemetry.READ_CHUNKS.labels("done").inc()
        return 0.0

    async def _failed(self, reading: Reading, error: Exception) -> None:
        message = error.message if isinstance(error, AegisError) else f"{type(error).__name__}: {str(error)[:300]}"
        logger.warning("A chunk of %s was not read by the model: %s", reading.title, message)
        if self.models.choice("extraction", shareable=reading.agreed) is None:
            await self._again(reading, message, REST, innocent=True)  # the model is away: that is not the chunk's fault
        elif reading.attempts < ATTEMPTS:
            await self._again(reading, message, BACKOFF * 2 ** (reading.attempts - 1), innocent=False)
        else:
            telemetry.READ_CHUNKS.labels("failed").inc()
            await self.queue.failed(reading, message)

    async def _again(self, reading: Reading, reason: str, seconds: float, *, innocent: bool) -> None:
        await self.queue.put_back(reading, reason, self.now() + timedelta(seconds=seconds), innocent=innocent)

    async def _added(self, reading: Reading, model: Model, *, rehearsed: bool = False) -> None:
        """Graphiti's `add_episode`. Raises Lost, and whatever a model can make Graphiti raise."""
        await asyncio.to_thread(import_module, "memory.facts.driver")  # Graphiti takes a second to import
        from graphiti_core.nodes import EpisodeType

        from memory.facts.driver import open_graphiti
        from memory.reading.admission import Admission
        from memory.reading.client import PooledClient

        async def shareable() -> bool:
            return reading.agreed and self.may_send([reading.collection]) and not await self._private(reading)

        client = PooledClient(model, reading, _at_once if rehearsed else self.turn, shareable)
        admission = Admission(
            reading,
            lambda: client.usage.model,
            self.now,
            lambda connection: self.queue.done(connection, reading, client.usage),
            rehearsed,
        )
        embedder = None if self.index is None else self.index.embedder
        async with open_graphiti(
            self.database,
            self.epoch,
            client,
            embedder,
            self.outbox.wake,
            index=self.index,
            admission=admission,
            open_only=await shareable(),
        ) as graphiti:
            await graphiti.add_episode(
                name=reading.title,
                episode_body=reading.text,
                source_description="document",
                reference_time=reading.dated or self.now(),
                source=EpisodeType.text,
                group_id=group_id("d", reading.collection),
                uuid=reading.chunk_id,
                previous_episode_uuids=[],
            )

    async def _private(self, reading: Reading) -> bool:
        async with self.database.read() as connection:
            return bool(await private_among(connection, [reading.document_id]))

    async def _leads(self) -> bool:
        """Whether this replica is the one that reads."""
        leads = self.leases is None or time.monotonic() < self._leads_until or await self._taken(self.leases)
        if leads and not self._leading:
            await self.queue.take_back()
        self._leading = leads
        return leads

    async def _taken(self, leases: Leases) -> bool:
        began = time.monotonic()
        taken = await leases.take(LEASE, self.now(), LEASE_SECONDS)
        self._leads_until = began + HOLD if taken else 0.0
        return taken

    async def _hold(self) -> None:
        """A chunk may take minutes, in which nobody else is to take it over."""
        while self.leases is not None:
            await asyncio.sleep(HOLD)
            with contextlib.suppress(StoreUnavailable):  # then the lease runs out, and what is written is refused
                await self._taken(self.leases)


async def _at_once() -> None:
    return None
