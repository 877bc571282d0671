"""Projections: stores that are filled from the outbox and can be rebuilt from the relational store.

`Projection` drives any of them: rows in order, applied, confirmed, and again after a failure. `VectorProjection` is a
vector store's, whatever its points are: `chunk_points.py`, `memory.facts.points`. `memory` has one for its graph.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Protocol, TypeVar

from sqlalchemy import delete, select

from aegis import telemetry
from aegis.database import Database
from aegis.database.leases import Leases
from aegis.database.outbox import Outbox, OutboxRow, outbox
from aegis.errors import AegisError, Conflict
from retrieval.indexes import projection_name, remembered
from retrieval.ingestion.versions import CHUNKS_TOPIC, ERASED_TOPIC, VISIBILITY_TOPIC
from retrieval.store import Summary, VectorStore

ROWS = 50  # outbox rows of one round
POINTS = 100  # points of one call to a vector store
CHUNK_TOPICS = (CHUNKS_TOPIC, VISIBILITY_TOPIC, ERASED_TOPIC)
GATHER = 0.2  # seconds that rows may gather while nobody waits for them
POLL = 1.0  # seconds between looks for rows that another replica wrote
LEASE_SECONDS = 30.0
PATIENCE = 10.0  # seconds between attempts at a target that stays away
LOOKS = 10  # comparisons while rows arrive, before a difference counts
PRUNE_EVERY = 15.0
PRUNED = 100  # outbox rows forgotten in one transaction: a turn may wait for it

logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class Target(Protocol):
    """What a projection fills."""

    @property
    def name(self) -> str: ...

    @property
    def topics(self) -> Sequence[str]: ...

    async def apply(self, rows: Sequence[OutboxRow]) -> None:
        """Idempotent: after a crash some rows come again. Raises Unavailable; then all of them come again."""
        ...


class Projection:
    """Keeps one target up to date. `leases` is None where one process owns the data folder."""

    def __init__(self, outbox: Outbox, target: Target, leases: Leases | None, now: Callable[[], datetime]) -> None:
        self.target = target
        self.failures = 0
        self.failure: str | None = None  # why the last attempt failed, None while all goes well
        self.turn = asyncio.Lock()  # whoever holds it may write to the target
        self._outbox = outbox
        self._leases = leases
        self._now = now
        self._applied = 0
        self._waiting = 0  # callers of caught_up
        self._hurry = asyncio.Event()
        self._moved = asyncio.Event()
        self._arrived = outbox.listener()
        self._lease_until = 0.0
        outbox.signals.listen("applied", self._look)

    @property
    def name(self) -> str:
        return self.target.name

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        task = asyncio.create_task(self.run(), name=f"projection {self.name}")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            if self._leases is not None:
                with contextlib.suppress(AegisError):  # then it runs out
                    await self._leases.release(self._lease)

    async def run(self) -> None:
        pause = 0.1
        while True:
            self._arrived.clear()
            if await self._attempted():
                pause = 0.1
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), pause if self.failure else POLL)
            if self.failure:
                await asyncio.sleep(pause)  # new rows are no reason to hurry
                pause = min(PATIENCE, pause * 2)
            elif not self._waiting:
                self._hurry.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), GATHER)

    async def caught_up(self) -> None:
        """Returns once everything committed to the outbox before this call has been applied, by any replica."""
        wanted = await self._outbox.last(self.target.topics)
        self._waiting += 1
        self._hurry.set()
        try:
            while self._applied < wanted:
                moved = self._moved
                if await self._outbox.applied(self.name) >= wanted:
                    return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(moved.wait(), 0.25)
        finally:
            self._waiting -= 1

    async def applied(self) -> int:
        return await self._outbox.applied(self.name)

    async def leads(self) -> bool:
        """Whether this replica is the one that writes to the target."""
        if self._leases is None or time.monotonic() < self._lease_until - LEASE_SECONDS * 2 / 3:
            return True
        started = time.monotonic()
        taken = await self._leases.take(self._lease, self._now(), LEASE_SECONDS)
        self._lease_until = started + LEASE_SECONDS if taken else 0.0
        return taken

    async def advance(self, limit: int | None = None) -> bool:
        """Apply the next rows, those up to `limit` where one is given; False when there were none. Needs the turn."""
        self._applied = await self._outbox.applied(self.name)
        rows = await self._outbox.pending(self.target.topics, self._applied, ROWS)
        rows = [row for row in rows if limit is None or row.seq <= limit]
        if not rows:
            telemetry.BACKLOG.labels(projection=self.name).set(0)
            return False
        await self.target.apply(rows)
        await self._outbox.confirm(self.name, rows[-1].seq)
        self._applied = rows[-1].seq
        self._look()
        self._outbox.signals.send("applied")
        behind = await self._outbox.last(self.target.topics) - self._applied
        telemetry.BACKLOG.labels(projection=self.name).set(max(0, behind))
        return True

    def _look(self) -> None:
        """Whoever waits in `caught_up` looks again."""
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def _attempted(self) -> bool:
        """Whether rows were applied."""
        try:
            async with self.turn:
                busy = await self.leads() and await self.advance()
        except AegisError as error:
            self._failed(error)
            return False
        except Exception as error:
            logger.exception("Projection %s cannot apply a row", self.name)
            self._failed(error)
            return False
        if self.failure is not None:
            logger.info("Projection %s goes on", self.name)
        self.failure = None
        return busy

    def _failed(self, error: Exception) -> None:
        if self.failure is None:
            logger.warning("Projection %s waits: %s", self.name, error)
        self.failure = str(error)
        self.failures += 1
        telemetry.BACKEND_FAILURES.labels(backend=self.name).inc()

    @property
    def _lease(self) -> str:
        return f"projection:{self.name}"


class Resettable(VectorStore, Protocol):
    """A vector store that can be emptied, and says so when it had to empty itself."""

    @property
    def was_reset(self) -> str | None: ...

    async def reset(self, reason: str) -> None: ...


class Points(Target, Protocol):
    """A target that is a vector store: what is stored in it, in which form."""

    @property
    def store(self) -> Resettable: ...

    async def write_page(self, after: str) -> str | None:
        """Upsert the next POINTS points as the relational store has them now. Where to go on, None at the end."""
        ...

    async def count(self) -> int:
        """How many points there should be."""
        ...

    async def expected(self) -> tuple[Summary, int]:
        """What the store should hold, and the last outbox row that tells of it: both of one moment."""
        ...


class VectorProjection(Projection):
    """A vector store, compared with the relational store at start and after a failure, rebuilt when they differ."""

    def __init__(self, outbox: Outbox, points: Points, leases: Leases | None, now: Callable[[], datetime]) -> None:
        super().__init__(outbox, points, leases, now)
        self._points = points
        self._store = points.store
        self._due = True
        self._sound: tuple[str | None] | None = None if leases is None else (points.store.was_reset,)
        self.progress: tuple[int, int] | None = None  # (points done, points in all) while rebuilding

    @property
    def complete(self) -> bool:
        """Whether the store holds what it should, as far as this process can tell: a replica trusts the leading one."""
        return self.progress is None and self._sound == (self._store.was_reset,)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._checks())
            tasks.create_task(super().run())

    async def verify(self) -> bool:
        """Whether the store holds exactly the points it should, with their epochs."""
        for _ in range(LOOKS):
            async with self.turn:
                wanted, seq = await self._points.expected()
                moved = False
                while await self.advance(seq):
                    moved = True
                reset, found = self._store.was_reset, await self._store.summary()
            if found == wanted:
                self._sound = (reset,)
                return True
            if not moved:  # else a later change may have been seen too early: look again
                logger.warning("The index %s holds %s, it should hold %s", self.name, found, wanted)
                return False
        return False

    async def rebuild(self, reason: str) -> None:
        """Fill the store anew from the relational store, while everything else goes on.

        Raises Conflict while another rebuild runs. Cut off, it is done again after the next start.
        """
        if self.progress is not None:
            raise Conflict(f"The index {self.name} is being rebuilt already.")
        self.progress = (0, 0)
        try:
            await self._rebuild(reason)
        finally:
            self.progress = None

    async def _rebuild(self, reason: str) -> None:
        total = await self._points.count()
        logger.info("Rebuilding the index %s, %d points: %s", self.name, total, reason)
        await self._patiently(lambda: self._store.reset(reason))
        done, after, said = 0, "", time.monotonic()
        self.progress = (0, total)
        while after is not None:
            last = after
            after = await self._patiently(lambda: self._points.write_page(last))  # noqa: B023 - awaited here
            done = min(total, done + POINTS)
            self.progress = (done, total)
            if time.monotonic() - said > 5:
                said = time.monotonic()
                logger.info("Rebuilding the index %s: %d of %d points", self.name, done, total)
        self._sound = (self._store.was_reset,)
        logger.info("The index %s is rebuilt: %d points", self.name, total)

    async def _checks(self) -> None:
        """At start, when this replica takes over, and after the store was out of reach."""
        failures, reset = 0, self._store.was_reset
        while True:
            if (self.failures, self._store.was_reset) != (failures, reset):
                failures, reset, self._due = self.failures, self._store.was_reset, True
            if self._due and self.progress is None and self.failure is None and await self._led():
                self._due = False
                self._due = not await self._checked() or self._due
            await asyncio.sleep(0.25)

    def check_soon(self) -> None:
        """The store says that it had to start empty."""
        self._due = True

    async def _led(self) -> bool:
        try:
            return await self.leads()
        except AegisError:
            return False

    async def _checked(self) -> bool:
        """False when the store could not be asked."""
        try:
            if not await self.verify():
                reason = self._store.was_reset or "its points are not those of the relational store"
                with contextlib.suppress(Conflict):
                    await self.rebuild(reason)
        except AegisError as error:
            logger.warning("The index %s cannot be compared with the relational store: %s", self.name, error)
            await asyncio.sleep(POLL)
            return False
        return True

    async def _patiently(self, call: Callable[[], Awaitable[_Result]]) -> _Result:
        """With the turn, again and again while the store is out of reach."""
        pause = 0.1
        while True:
            try:
                async with self.turn:
                    return await call()
            except AegisError as error:
                logger.warning("Rebuilding the index %s waits: %s", self.name, error)
                await asyncio.sleep(pause)
                pause = min(PATIENCE, pause * 2)


async def prune(database: Database, box: Outbox, projections: Sequence[Projection]) -> None:
    """Forget outbox rows that every projection of their topic has applied, and those that nobody asks for.

    An index may be filled by another replica, or be made only now: those that the store remembers count, too.
    """
    standing = {each.name: each.target.topics for each in projections}
    standing |= {projection_name(each.embedder): CHUNK_TOPICS for each in (await remembered(database)).values()}
    async with database.read() as connection:
        topics = [row[0] for row in await connection.execute(select(outbox.c.topic).distinct())]
    for topic in topics:
        applied = [await box.applied(name) for name, topics_of in standing.items() if topic in topics_of]
        await _prune(database, topic, min(applied) if applied else await box.last([topic]))


async def _prune(database: Database, topic: str, up_to: int) -> None:
    old = (
        select(outbox.c.seq).where(outbox.c.topic == topic, outbox.c.seq <= up_to).order_by(outbox.c.seq).limit(PRUNED)
    )
    forgotten = PRUNED
    while forgotten == PRUNED:
        async with database.write() as connection:
            forgotten = (await connection.execute(delete(outbox).where(outbox.c.seq.in_(old)))).rowcount


@asynccontextmanager
async def running(
    database: Database, box: Outbox, projections: Sequence[Projection]
) -> AsyncGenerator[Sequence[Projection]]:
    """All projections at work, and the outbox kept short."""
    async with contextlib.AsyncExitStack() as stack:
        for projection in projections:
            await stack.enter_async_context(projection.running())
        pruning = asyncio.create_task(_prune_for_ever(database, box, projections))
        try:
            yield projections
        finally:
            pruning.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pruning


async def _prune_for_ever(database: Database, box: Outbox, projections: Sequence[Projection]) -> None:
    while True:
        await asyncio.sleep(PRUNE_EVERY)
        try:
            await prune(database, box, projections)
        except AegisError as error:
            logger.warning("The outbox could not be shortened: %s", error)
