"""The embedded vector store: Qdrant Edge in a child process of ours.

The engine holds the interpreter lock in every call, and some calls take seconds, so it lives in another process
(`retrieval/shard/`), which `edge_engine.py` keeps going. It confirms a write after it is in its write-ahead log.

Above `unindexed_limit` points without an index one is built on a copy of the folder by another process, while this
one goes on answering; then the writes made since are replayed there and it takes over (`edge_folder.py`: generations).
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import struct
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from aegis.errors import IndexUnavailable, Unavailable
from aegis.settings import EdgeSettings
from retrieval.shard.messages import Refused
from retrieval.store import (
    Candidates,
    EngineFusion,
    Fields,
    Point,
    PointFilter,
    Scored,
    Summary,
    VectorQuery,
    Visibility,
    checksum,
)
from retrieval.store.checking import check_ids, check_point, check_query
from retrieval.store.edge_engine import Engine, retrieved
from retrieval.store.edge_log import WriteLog
from retrieval.store.edge_process import Child, Hung, Lost, start_child
from retrieval.store.payload import bounds, payload

logger = logging.getLogger(__name__)

BATCH = 100  # points per write: a search waits for at most one, some milliseconds
FLUSH_AFTER = 1.0  # seconds without a write
BUILD_TIMEOUT = 1800.0  # seconds for each step of a build
CATCH_UP = 1 << 20  # bytes of writes left when a build stops them for the rest
RETRY_BUILD = 30.0  # seconds after a build that failed, doubled each time


class EdgeStore:
    """Open with `open_edge`."""

    def __init__(
        self,
        settings: EdgeSettings,
        folder: Path,
        dimensions: int,
        on_reset: Callable[[str], None] | None = None,
        fields: Fields | None = None,
        builds: asyncio.Lock | None = None,
    ) -> None:
        self._settings = settings
        self._dimensions = dimensions
        self._fields: Fields = dict(fields or {})
        self._engine = Engine(settings, folder, dimensions, self._fields, on_reset, self._forget_log, self._stop_build)
        self._writing = asyncio.Lock()
        self._log: WriteLog | None = None
        self._builds = builds or asyncio.Lock()
        self._building: asyncio.Task[bool] | None = None
        self._failed_builds = 0
        self._build_not_before = 0.0
        self._flushing: asyncio.Task[None] | None = None
        self._last_write = 0.0

    @property
    def was_reset(self) -> str | None:
        """Why the index was started empty since it was opened (the newest reason): it has to be filled again."""
        return self._engine.was_reset

    @property
    def pid(self) -> int | None:
        """The child process that answers now."""
        return self._engine.pid

    @property
    def unindexed(self) -> int:
        """Points (about) that no index covers yet; searches over them are exact."""
        return self._engine.unindexed

    async def start(self) -> None:
        await self._engine.start()

    # The port

    async def upsert(self, points: Sequence[Point]) -> None:
        for start in range(0, len(points), BATCH):
            rows = [_row(point, self._dimensions) for point in points[start : start + BATCH]]
            await self._write("upsert", rows)

    async def show(self, changes: Sequence[Visibility]) -> None:
        for change in changes:
            check_ids(change.ids)
            for start in range(0, len(change.ids), BATCH):
                ids = list(change.ids[start : start + BATCH])
                await self._write("show", ids, change.visible_from, change.visible_until)

    async def delete(self, ids: Sequence[str]) -> None:
        check_ids(ids)
        for start in range(0, len(ids), BATCH):
            await self._write("delete", list(ids[start : start + BATCH]))

    async def query(self, query: VectorQuery) -> Candidates:
        dense, sparse = check_query(query, self._dimensions)
        if dense is None and sparse is None:
            return Candidates()
        halves = await self._engine.call(
            "query",
            _condition(query.filter),
            query.limit,
            None if dense is None else dense.tobytes(),
            None if sparse is None else (sparse.indices, sparse.values),
        )
        found = [_hits(*half) for half in halves]
        if dense is None:
            return Candidates(sparse=found[0])
        return Candidates(*found)

    async def fused(self, query: VectorQuery, fusion: EngineFusion, dense_weight: float = 0.5) -> list[Scored]:
        dense, sparse = check_query(query, self._dimensions)
        if dense is None or sparse is None:
            alone = await self.query(query)
            return alone.dense or alone.sparse
        weights = [2 * dense_weight, 2 - 2 * dense_weight] if fusion == "rrf" else None
        words = (sparse.indices, sparse.values)
        condition = _condition(query.filter)
        return _hits(*await self._engine.call("fused", condition, query.limit, dense.tobytes(), words, weights))

    async def summary(self) -> Summary:
        """Writes wait until it is done; searches go in between its pages."""
        count = total = 0
        offset: str | None = None
        async with self._writing:
            while True:
                rows, offset = await self._engine.call("page", offset)
                count += len(rows)
                total += sum(checksum(*row) for row in rows)
                if offset is None:
                    return Summary(count, total % 2**64)

    # Beyond the port

    async def reset(self, reason: str) -> None:
        """Start empty, removing the files of the current index. Searches find nothing until it is filled again."""
        await self._stop_build()
        async with self._writing:
            old, replaced = self._engine.child, self._engine.generation
            child, generation = await self._engine.create()
            self._engine.adopt(child, generation, 0)
            await asyncio.to_thread(self._engine.generations.switch, generation)
            self._engine.emptied(reason)
            await self._engine.retire(old, replaced)

    async def build(self) -> bool:
        """Build the index now; true when it was built and switched in, false when that failed (see the log)."""
        return await asyncio.shield(self._begin_build())

    async def built(self) -> None:
        """Wait for the build under way, if there is one."""
        if self._building is not None:
            await asyncio.wait({self._building})

    async def close(self) -> None:
        self._engine.closed = True
        for task in (self._building, self._flushing):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        await self._engine.close()

    # Writing

    async def _write(self, name: str, *arguments: Any) -> None:
        message = pickle.dumps((name, *arguments), protocol=5)
        async with self._writing:
            self._engine.unindexed = await self._engine.send(message)
            if self._log is not None:
                await self._log.append(message)
        self._last_write = time.monotonic()
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush_when_idle())
        if self._engine.unindexed > self._settings.unindexed_limit and self._last_write >= self._build_not_before:
            self._begin_build()

    async def _flush_when_idle(self) -> None:
        """The write-ahead log holds every write; flushing keeps it short, so that the next load is quick."""
        rest = FLUSH_AFTER
        while rest > 0:
            await asyncio.sleep(rest)
            rest = self._last_write + FLUSH_AFTER - time.monotonic()
        with suppress(IndexUnavailable):
            await self._engine.call("flush")

    # Building

    def _forget_log(self) -> None:
        """What a build logs for the copy of another generation is no use to it."""
        self._log = None

    def _begin_build(self) -> asyncio.Task[bool]:
        if self._building is None or self._building.done():
            self._building = asyncio.create_task(self._build_in_turn())
            self._building.add_done_callback(retrieved)
        return self._building

    async def _stop_build(self) -> None:
        if self._building is not None and self._building is not asyncio.current_task():
            self._building.cancel()
            await asyncio.wait({self._building})

    async def _build_in_turn(self) -> bool:
        async with self._builds:
            return await self._build()

    async def _build(self) -> bool:
        began = time.monotonic()
        generation = await asyncio.to_thread(self._engine.generations.fresh)
        children: list[Child] = []
        try:
            log = await self._copy_current(generation, children)
            await self._optimize(generation, children)
            await self._take_over(generation, log, children)
        except (Lost, Hung, Refused, Unavailable, OSError) as error:
            self._failed_builds += 1
            self._build_not_before = time.monotonic() + RETRY_BUILD * 2 ** min(self._failed_builds - 1, 6)
            logger.warning("The index was not built; the old one stays in use: %s", error)
            return False
        finally:
            self._log = None
            for child in children:
                if child is not self._engine.child:
                    await child.discard()
            if generation != self._engine.generation:
                await asyncio.to_thread(self._engine.generations.remove, generation)
        self._failed_builds = 0
        logger.info("An index was built and taken over in %.1f s.", time.monotonic() - began)
        return True

    async def _copy_current(self, generation: Path, children: list[Child]) -> WriteLog:
        """Writes wait meanwhile (.1 s for 20,000 points); those after it are logged."""
        builder = await start_child(self._engine.ended)
        children.append(builder)
        async with self._writing:
            await self._engine.call("flush")
            await builder.request("copy", str(self._engine.generation), str(generation), timeout=BUILD_TIMEOUT)
            self._log = WriteLog(generation / "writes.log")
            return self._log

    async def _optimize(self, generation: Path, children: list[Child]) -> None:
        """In a process that ends afterwards: its peak of memory goes with it."""
        builder = children[-1]
        await builder.request("optimize", str(generation), self._dimensions, self._fields, timeout=BUILD_TIMEOUT)
        await builder.request("seal", timeout=BUILD_TIMEOUT)
        await builder.request("close", timeout=BUILD_TIMEOUT)
        await builder.ended()

    async def _take_over(self, generation: Path, log: WriteLog, children: list[Child]) -> None:
        successor, _, unindexed = await self._engine.open(generation)
        children.append(successor)
        done = 0
        while log.size - done > CATCH_UP:
            done, unindexed = await self._replay(successor, log, done)
        async with self._writing:
            if log.size > done:
                _, unindexed = await self._replay(successor, log, done)
            if self._log is not log:
                raise IndexUnavailable("the index was replaced while another was built on it")
            await self._switch(successor, generation, unindexed)

    async def _replay(self, successor: Child, log: WriteLog, start: int) -> tuple[int, int]:
        if log.failure is not None:
            raise log.failure
        end = log.size
        return end, await successor.request("replay", str(log.path), start, end, timeout=BUILD_TIMEOUT)

    async def _switch(self, successor: Child, generation: Path, unindexed: int) -> None:
        """Writes wait. A crash before the pointer is replaced leaves the old generation with every write in it."""
        await successor.request("flush", timeout=BUILD_TIMEOUT)
        built = await successor.request("count", timeout=BUILD_TIMEOUT)
        kept = await self._engine.call("count")
        if built != kept:
            raise IndexUnavailable(f"the index built holds {built} points, {kept} are stored")
        old, replaced = self._engine.child, self._engine.generation
        self._engine.adopt(successor, generation, unindexed)
        try:
            await asyncio.to_thread(self._engine.generations.switch, generation)
        except OSError:
            if old is not None and replaced is not None:
                self._engine.adopt(old, replaced, self._engine.unindexed)
            raise
        self._log = None
        await self._engine.retire(old, replaced)
        await asyncio.to_thread((generation / "writes.log").unlink, missing_ok=True)


def _row(point: Point, dimensions: int) -> tuple[str, bytes, tuple[int, ...], tuple[float, ...], dict[str, Any]]:
    """A point as the child takes it; a vector of zeros is left out, as nothing is like it."""
    dense = check_point(point, dimensions)
    return point.id, dense.tobytes() if dense.any() else b"", point.sparse.indices, point.sparse.values, payload(point)


def _condition(condition: PointFilter) -> tuple[Any, ...]:
    return (
        sorted(condition.collections),
        condition.epoch,
        list(condition.documents),
        list(condition.types),
        list(condition.tags),
        condition.date_from,
        condition.date_to,
        {name: list(values) for name, values in condition.names.items()},
        bounds(condition),
    )


def _hits(ids: str, scores: bytes) -> list[Scored]:
    """Ids separated by spaces, scores as native doubles: a third of the cost of a pickled list of pairs."""
    return list(map(Scored, ids.split(), struct.unpack(f"{len(scores) // 8}d", scores)))


@asynccontextmanager
async def open_edge(
    settings: EdgeSettings,
    folder: Path,
    dimensions: int,
    on_reset: Callable[[str], None] | None = None,
    fields: Fields | None = None,
    builds: asyncio.Lock | None = None,
) -> AsyncGenerator[EdgeStore]:
    """The store in `folder`, made if it is not there. `on_reset` is told whenever it had to be started empty.

    Stores that share `builds` build one index at a time: the peak of memory is one index's.
    """
    store = EdgeStore(settings, folder, dimensions, on_reset, fields, builds)
    try:
        await store.start()
        yield store
    finally:
        await store.close()
