"""The index that searches go through, and how another embedder's takes its place.

`aegis reindex` fills a shadow index beside the current one: every chunk is embedded again (what was embedded before
a crash is kept), later changes reach both, and between two publications the shadow takes over. Searches go on
meanwhile. Replicas on one store follow the one that did it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from aegis.database import Database
from aegis.errors import AegisError, Conflict, Unavailable
from aegis.scope import Scope
from aegis.settings import EmbedderSettings
from retrieval.embedding import Embedder
from retrieval.indexes import give_up_building, remember, remembered, switch
from retrieval.projection import Resettable, VectorProjection
from retrieval.search import Hit, HybridSearcher, Searcher, SearchRequest
from retrieval.store import Candidates

LOOK = 0.25  # seconds between looks at the shadow
FOLLOW = 5.0  # seconds between looks at which index is current, where replicas share a store
GRACE = 10.0  # seconds that searches may still be under way on an index that was replaced

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Index:
    """An embedder, the vector store that holds its vectors, what fills it, and what searches it. All open."""

    embedder: Embedder
    store: Resettable
    projection: VectorProjection
    hybrid: HybridSearcher  # both halves, fused
    searcher: Searcher  # every mode


class OpenIndex(Protocol):
    def __call__(self, embedder: Embedder) -> AbstractAsyncContextManager[Index]: ...

    def embedder(self, settings: EmbedderSettings) -> AbstractAsyncContextManager[Embedder]: ...


class Publishes(Protocol):
    def paused(self) -> AbstractAsyncContextManager[None]:
        """No publication is under way until the end."""
        ...


@dataclass(frozen=True, slots=True)
class Reindexed:
    """How far it is. `done` of `total` chunks; `waits` is why it does not go on just now."""

    embedder: str
    running: bool
    done: int
    total: int
    waits: str | None


@dataclass(slots=True)
class LiveIndex:
    """The current index. Implements `Searcher`, and confirms publications for it."""

    now: Index
    database: Database
    opens: OpenIndex
    given: EmbedderSettings
    stack: AsyncExitStack  # closes the current index
    retired: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])
    _adopting: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def search(self, scope: Scope, request: SearchRequest) -> list[Hit]:
        return await self.now.searcher.search(scope, request)

    async def halves(self, scope: Scope, request: SearchRequest, limit: int, document: str = "") -> Candidates:
        return await self.now.hybrid.halves(scope, request, limit, document)

    def embedder(self) -> Embedder:
        return self.now.embedder

    async def caught_up(self) -> None:
        """The index that is current for everybody, even if another replica switched just now."""
        await self.follow()
        await self.now.projection.caught_up()

    async def follow(self) -> None:
        """Open what another replica has made current."""
        async with self._adopting:
            found = (await remembered(self.database)).get("current")
            if found is None or found.embedder == self.now.embedder.name:
                return
            logger.info("Another replica has switched to the index of %s", found.embedder)
            stack = AsyncExitStack()
            embedder = await stack.enter_async_context(self.opens.embedder(found.opened_by(self.given)))
            self.adopt(await stack.enter_async_context(self.opens(embedder)), stack)

    def adopt(self, index: Index, stack: AsyncExitStack) -> None:
        """Searches that begin from now on go through it."""
        old, self.now, self.stack = self.stack, index, stack
        self.retired.append(asyncio.create_task(_close_later(old)))

    async def aclose(self) -> None:
        for task in self.retired:
            task.cancel()
        await asyncio.gather(*self.retired, return_exceptions=True)
        await self.stack.aclose()


async def _close_later(stack: AsyncExitStack) -> None:
    try:
        await asyncio.sleep(GRACE)
    finally:
        await stack.aclose()


class Reindexing:
    """`wanted` reads the settings anew: what they say by now is what the next index is filled with."""

    def __init__(
        self,
        live: LiveIndex,
        publisher: Publishes,
        wanted: Callable[[], EmbedderSettings],
        switched: Callable[[], None],
    ) -> None:
        self._live = live
        self._publisher = publisher
        self._wanted = wanted
        self._switched = switched
        self._task: asyncio.Task[None] | None = None
        self._shadow: Index | None = None
        self._last: tuple[int, int] = (0, 0)
        self._failure: str | None = None

    async def start(self) -> Reindexed:
        """Begin, unless it is under way. Raises ConfigurationError when the embedder cannot be opened, and Conflict
        when the index is that embedder's already."""
        if self._task is None or self._task.done():
            self._failure, self._last = None, (0, 0)
            async with AsyncExitStack() as stack:
                settings = self._wanted()
                embedder = await stack.enter_async_context(self._live.opens.embedder(settings))
                await self._check(embedder)
                await remember(self._live.database, embedder.name, embedder.dimensions, settings, "building")
                self._shadow = await stack.enter_async_context(self._live.opens(embedder))
                self._task = asyncio.create_task(self._run(self._shadow, stack.pop_all()), name="reindexing")
        return self.progress()

    def progress(self) -> Reindexed:
        running = self._task is not None and not self._task.done()
        name = (self._shadow or self._live.now).embedder.name
        if not running or self._shadow is None:
            return Reindexed(name, False, *self._last, self._failure)
        projection = self._shadow.projection
        self._last = projection.progress or self._last
        return Reindexed(name, True, *self._last, projection.failure)

    async def _check(self, embedder: Embedder) -> None:
        name = embedder.name
        if name == self._live.now.embedder.name:
            raise Conflict(
                f"The index is {name}'s already, which is what the settings say. Set AEGIS_EMBEDDER__KIND (in .env, "
                "which a running server reads again), then: aegis reindex"
            )
        building = (await remembered(self._live.database)).get("building")
        if building is not None and building.embedder != name:
            logger.info("The index of %s is given up", building.embedder)
            await give_up_building(self._live.database)
        await embedder.embed(["a test"])  # says at once what does not work

    async def _run(self, shadow: Index, stack: AsyncExitStack) -> None:
        try:
            await self._filled(shadow.projection)
            async with self._publisher.paused():
                await shadow.projection.caught_up()
                await switch(self._live.database, shadow.embedder.name)
                self._live.adopt(shadow, stack)
                self._switched()
            logger.info("Searches go through the index of %s now", shadow.embedder.name)
        except AegisError as error:
            logger.warning("The index of %s is not finished: %s", shadow.embedder.name, error)
            self._failure = error.message
            await stack.aclose()
        except asyncio.CancelledError:
            await stack.aclose()
            raise

    async def _filled(self, projection: VectorProjection) -> None:
        """It compares itself with the catalogue, and fills itself where it differs."""
        while not await self._complete(projection):
            self.progress()
            await asyncio.sleep(LOOK)

    async def _complete(self, projection: VectorProjection) -> bool:
        if projection.progress is not None or projection.failure:
            return False
        try:
            return await projection.verify()
        except Unavailable as error:
            logger.warning("Reindexing waits: %s", error)
            return False

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})


@asynccontextmanager
async def following(live: LiveIndex) -> AsyncGenerator[None]:
    """Where replicas share a store: look whether another has switched."""
    task = asyncio.create_task(_follow_for_ever(live))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _follow_for_ever(live: LiveIndex) -> None:
    while True:
        await asyncio.sleep(FOLLOW)
        try:
            await live.follow()
        except AegisError as error:
            logger.warning("The index that another replica made cannot be opened: %s", error)
