"""The child process that answers for the embedded vector store: started again when it ends, given up when it must be.

A child that ends is started again at once; calls meanwhile wait, at most `timeout` seconds, and are repeated once
(every write is idempotent). Files that make it fail again and again are taken for damaged and set aside.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from aegis.errors import IndexUnavailable, InvalidInput, Unavailable
from aegis.settings import EdgeSettings
from retrieval.shard.messages import Refused
from retrieval.store import Fields
from retrieval.store.edge_folder import Damaged, Generations
from retrieval.store.edge_process import Child, Hung, Lost, start_child

logger = logging.getLogger(__name__)

TRIES = 3  # loads that may crash or hang, and failures in a row, before the files are taken for damaged
LOCK_WAIT = 20.0  # seconds for the child of a server that was killed to notice and let go of the files
OPEN_TIMEOUT = 30.0  # seconds until a load counts as hung
CREATE_TIMEOUT = 30.0
SCAN_SECONDS = 2.0  # for reading vectors when the last end was not clean


class Engine:
    """`on_reset` is told why it was started empty; `on_replaced` that another generation answers from now on;
    `stop_build` ends what works on a copy of the files."""

    def __init__(
        self,
        settings: EdgeSettings,
        folder: Path,
        dimensions: int,
        fields: Fields,
        on_reset: Callable[[str], None] | None,
        on_replaced: Callable[[], None],
        stop_build: Callable[[], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._dimensions = dimensions
        self._fields = dict(fields)
        self._on_reset = on_reset
        self._on_replaced = on_replaced
        self._stop_build = stop_build
        self.generations = Generations(folder)
        self.generation: Path | None = None
        self.child: Child | None = None
        self.unindexed = 0
        self.was_reset: str | None = None
        self._starting: asyncio.Task[None] | None = None
        self._strikes = 0  # failures of the engine without a success in between
        self._last_failure = ""
        self.closed = False  # and starts no child any more

    @property
    def pid(self) -> int | None:
        """The child process that answers now."""
        return self.child.pid if self.child is not None and self.child.alive else None

    async def close(self) -> None:
        self.closed = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait({self._starting})
        if self.child is not None and self.child.alive:
            await self.child.close(max(10.0, self._settings.timeout))

    async def call(self, name: str, *arguments: Any) -> Any:
        return await self.send(pickle.dumps((name, *arguments), protocol=5))

    async def send(self, message: bytes) -> Any:
        deadline = time.monotonic() + self._settings.timeout
        for last_try in (False, True):
            child = await self._ready(deadline)
            try:
                answer = await child.send(message, max(0.001, deadline - time.monotonic()))
            except Lost as lost:
                if last_try:
                    raise IndexUnavailable(f"the vector index stopped twice while asked: {lost}") from lost
            except Hung as hung:
                self._strike(str(hung))
                raise IndexUnavailable(f"the vector index does not answer: {hung}") from hung
            except Refused as refused:
                self._refused(refused)
            else:
                self._strikes = 0
                return answer
        raise AssertionError  # the second try returns or raises

    async def _ready(self, deadline: float) -> Child:
        if self.child is not None and self.child.alive:
            return self.child
        try:
            async with asyncio.timeout(max(0.001, deadline - time.monotonic())):
                await asyncio.shield(self._begin_start())
        except TimeoutError as error:
            raise IndexUnavailable("the vector index is starting again; try in a moment") from error
        if self.child is None or not self.child.alive:
            raise IndexUnavailable("the vector index stopped again right after its start")
        return self.child

    def _refused(self, refused: Refused) -> NoReturn:
        if refused.kind == "invalid":
            raise InvalidInput(f"the vector index cannot take this: {refused}") from refused
        if refused.kind != "unusable":  # a full disk mends itself, a folder that cannot be read does not
            self._strike(str(refused))
        raise IndexUnavailable(f"the vector index failed: {refused}") from refused

    def _strike(self, reason: str) -> None:
        self._strikes += 1
        self._last_failure = reason
        if self._strikes >= TRIES and self.child is not None:
            self.child.kill()  # the next start takes the files for damaged

    # Starting

    def _begin_start(self) -> asyncio.Task[None]:
        if self.closed:
            raise IndexUnavailable("the vector index is closed")
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(retrieved)
        return self._starting

    async def start(self) -> None:
        await asyncio.shield(self._begin_start())
        if self.generation is not None:
            await asyncio.to_thread(self.generations.remove_others, self.generation)

    async def _start(self) -> None:
        try:
            if self._strikes >= TRIES:
                raise Damaged(f"the engine failed {self._strikes} times in a row, last: {self._last_failure}")
            await self._open_current()
        except Damaged as damaged:
            await self._start_empty(str(damaged))

    async def _open_current(self) -> None:
        locked_until = time.monotonic() + LOCK_WAIT
        failures: list[Lost | Hung] = []
        while len(failures) < TRIES:
            if self.child is not None and self.child.alive:
                return  # a build has taken over meanwhile
            generation = await asyncio.to_thread(self.generations.current)
            if generation is None:
                child, generation = await self.create()
                await asyncio.to_thread(self.generations.switch, generation)
                return self.adopt(child, generation, 0)
            try:
                return self.adopt(*await self.open(generation))
            except (Lost, Hung) as failure:
                failures.append(failure)
            except Refused as refused:
                if refused.kind != "locked" or time.monotonic() > locked_until:
                    _cannot_open(refused, generation)
                await asyncio.sleep(0.1)
        if all(isinstance(failure, Lost) and not failure.crashed for failure in failures):
            raise IndexUnavailable(
                f"the vector index was ended {TRIES} times while it loaded (memory?): {failures[-1]}"
            )
        raise Damaged(f"it cannot be loaded: {failures[-1]}")

    async def open(self, generation: Path) -> tuple[Child, Path, int]:
        """Raises Lost, Hung, Refused; then no child is left."""
        child = await start_child(self.ended)
        try:
            unindexed = await child.request(
                "open", str(generation), self._dimensions, self._fields, SCAN_SECONDS, timeout=OPEN_TIMEOUT
            )
        except BaseException:
            await child.discard()
            raise
        return child, generation, unindexed

    async def create(self) -> tuple[Child, Path]:
        generation = await asyncio.to_thread(self.generations.fresh)
        child = await start_child(self.ended)
        try:
            await child.request("create", str(generation), self._dimensions, self._fields, timeout=CREATE_TIMEOUT)
        except BaseException as error:
            await child.discard()
            if not isinstance(error, Lost | Hung | Refused):
                raise
            raise IndexUnavailable(f"an empty vector index cannot be made in {generation}: {error}") from error
        return child, generation

    async def _start_empty(self, reason: str) -> None:
        await self._stop_build()
        aside = await asyncio.to_thread(self.generations.set_aside)
        child, generation = await self.create()
        await asyncio.to_thread(self.generations.switch, generation)
        self.adopt(child, generation, 0)
        logger.error("The vector index was damaged (%s); set aside as %s, started empty.", reason, aside)
        self.emptied(reason)

    def adopt(self, child: Child, generation: Path, unindexed: int) -> None:
        if generation != self.generation:
            self._on_replaced()
        self.child, self.generation, self.unindexed = child, generation, unindexed

    def emptied(self, reason: str) -> None:
        self._strikes = 0
        self.was_reset = reason
        if self._on_reset is not None:
            self._on_reset(reason)

    def ended(self, child: Child, lost: Lost) -> None:
        if child is not self.child or self.closed:
            return
        logger.warning("The vector index stopped (%s); starting it again.", lost)
        if lost.crashed:
            self._strike(str(lost))
        self._begin_start()

    async def retire(self, child: Child | None, generation: Path | None) -> None:
        """What was asked of it is still answered; then it goes, with its files."""
        if child is not None and child.alive:
            with suppress(Lost, Hung, Refused, Unavailable):
                await child.request("count", timeout=self._settings.timeout)
            await child.discard()
        if generation is not None:
            await asyncio.to_thread(self.generations.remove, generation)


def _cannot_open(refused: Refused, generation: Path) -> NoReturn:
    if refused.kind == "locked":
        raise IndexUnavailable(f"the vector index {generation} is in use by another process: {refused}") from refused
    if refused.kind == "unusable":
        raise IndexUnavailable(f"the vector index {generation} cannot be opened: {refused}") from refused
    raise Damaged(str(refused)) from refused


def retrieved(task: asyncio.Task[Any]) -> None:
    """Whoever awaited the task has its error; nobody may have."""
    if not task.cancelled():
        task.exception()
