"""Part of the composition root: the index that searches go through, opened for the embedder that filled it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from aegis.database import Database
from aegis.database.leases import Leases
from aegis.database.outbox import Outbox
from aegis.errors import ConfigurationError
from aegis.folder import recorded_format
from aegis.settings import EdgeSettings, EmbedderSettings, Settings

if TYPE_CHECKING:
    from retrieval.catalogue import Catalogue
    from retrieval.embedding import Embedder, Metered
    from retrieval.indexes import Remembered
    from retrieval.interaction import Reader, Reranker
    from retrieval.keywords import KeywordEncoder
    from retrieval.projection import Resettable
    from retrieval.reindexing import Index, LiveIndex
    from retrieval.search import HybridSearcher, Searcher

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens the index of an embedder: its vector store, what fills it and what searches it.

    `owned`: by one process. `builds` is held by whoever builds an index.
    """

    settings: Settings
    database: Database
    outbox: Outbox
    catalogue: Catalogue
    keywords: KeywordEncoder
    reranker: Reranker
    reader: Reader | None
    leases: Leases | None
    owned: bool
    now: Callable[[], datetime]
    metered: Metered
    builds: asyncio.Lock

    def embedder(self, settings: EmbedderSettings) -> AbstractAsyncContextManager[Embedder]:
        """Raises ConfigurationError."""
        from retrieval.embedding import open_embedder

        return open_embedder(settings, self.metered, self.settings.ollama.trusted_hosts)

    @asynccontextmanager
    async def __call__(self, embedder: Embedder) -> AsyncGenerator[Index]:
        """Raises IndexUnavailable; ConfigurationError where the embedder would send away what is private."""
        from retrieval.chunk_points import ChunkPoints
        from retrieval.projection import VectorProjection
        from retrieval.reindexing import Index

        self.check(embedder)
        async with AsyncExitStack() as stack:
            store = await self._store(embedder, stack)
            if self.owned:
                await self._reset_foreign_keywords(store)
            points = ChunkPoints(self.database, store, embedder, self.keywords)
            filling = VectorProjection(self.outbox, points, self.leases, self.now)
            await stack.enter_async_context(filling.running())
            hybrid = self._hybrid(store, embedder)
            yield Index(embedder, store, filling, hybrid, self._every_mode(hybrid))

    def check(self, embedder: Embedder) -> None:
        """Raises ConfigurationError where the embedder would send away what is private."""
        from inference.sharing import check_embedding_at
        from retrieval.embedding.remote import RemoteEmbedder

        if isinstance(embedder, RemoteEmbedder):
            check_embedding_at(embedder.sends_to, self.settings)

    async def _store(self, embedder: Embedder, stack: AsyncExitStack) -> Resettable:
        if isinstance(self.settings.vectors, EdgeSettings):
            from retrieval.store.edge import open_edge

            folder = self.settings.folder / "vectors" / embedder.name
            return await stack.enter_async_context(
                open_edge(self.settings.vectors, folder, embedder.dimensions, builds=self.builds)
            )
        from retrieval.store.server import open_qdrant

        return await stack.enter_async_context(
            open_qdrant(self.settings.vectors, embedder.dimensions, f"chunks_{embedder.name}")
        )

    async def _reset_foreign_keywords(self, store: Resettable) -> None:
        """Points whose keywords were made by another encoder find nothing any more: they are made anew."""
        written = recorded_format(self.settings.folder)
        if written and written.get("keywords") != self.keywords.name:
            was = written.get("keywords", "an earlier encoder")
            await store.reset(f"keywords are made by {self.keywords.name} now, they were made by {was}")

    def _hybrid(self, store: Resettable, embedder: Embedder) -> HybridSearcher:
        from retrieval.search import HybridSearcher

        return HybridSearcher(
            store,
            embedder,
            self.keywords,
            self.catalogue,
            self.settings.retrieval,
            self.settings.chat.max_question_chars,
            reranker=self.reranker,
            reader=self.reader,
        )

    def _every_mode(self, hybrid: HybridSearcher) -> Searcher:
        from memory.mentions import GraphSearcher, MentionFollower
        from memory.modes import ModeSearcher

        return ModeSearcher(hybrid, GraphSearcher(hybrid, MentionFollower(self.database, self.catalogue)))


@asynccontextmanager
async def open_index(opener: Opener, *, reindexing: bool) -> AsyncGenerator[tuple[LiveIndex, bool]]:
    """The index that the store remembers, and whether another one is to be finished.

    Raises ConfigurationError where the settings name another embedder, unless that one's index is being made.
    """
    from retrieval.indexes import give_up_building, remember, remembered
    from retrieval.reindexing import LiveIndex, following

    given, database = opener.settings.embedder, opener.database
    found = await remembered(database)
    current, building = found.get("current"), found.get("building")
    async with AsyncExitStack() as stack:
        embedder = await stack.enter_async_context(opener.embedder(given))
        opener.check(embedder)
        changed = current is not None and current.embedder != embedder.name
        unfinished = changed and building is not None and building.embedder == embedder.name
        if changed and current is not None:
            if not (unfinished or reindexing):
                raise _mismatch(current, embedder)
            await stack.aclose()
            embedder = await _remembered_embedder(current, opener, stack)
        else:
            await remember(database, embedder.name, embedder.dimensions, given, "current")
        if building is not None and not unfinished:
            await give_up_building(database)
        if opener.owned:
            kept = {embedder.name, building.embedder if building is not None and unfinished else embedder.name}
            await asyncio.to_thread(remove_others, opener.settings.folder / "vectors", kept)
            if opener.leases is not None:
                await _refuse_second_index(opener.leases, embedder.name, opener.now)
        index = await stack.enter_async_context(opener(embedder))
        live = LiveIndex(index, database, opener, given, stack.pop_all())
        async with contextlib.aclosing(live):
            if opener.leases is None:
                yield live, unfinished
                return
            async with following(live):
                yield live, unfinished


async def _refuse_second_index(leases: Leases, embedder: str, now: Callable[[], datetime]) -> None:
    """An index in a data folder is filled by one server only: another's, on the same store, would stay empty.

    Raises ConfigurationError. A server that was killed in another folder is waited for until its lease ends.
    """
    from retrieval.indexes import projection_name
    from retrieval.projection import LEASE_SECONDS

    waits, lease = 0, f"projection:{projection_name(embedder)}"
    while not await leases.take(lease, now(), LEASE_SECONDS):
        if waits > LEASE_SECONDS:
            raise ConfigurationError(
                "Another server works on this relational store, and this one would keep its vectors in a data folder "
                "of its own. Replicas share a Qdrant server: set AEGIS_VECTORS__KIND=qdrant."
            )
        if not waits:
            logger.info("Another server works on this relational store; waiting for it to leave")
        waits += 1
        await asyncio.sleep(1)


def _mismatch(current: Remembered, embedder: Embedder) -> ConfigurationError:
    return ConfigurationError(
        f"The index was filled by the embedder {current.embedder}; the settings name {embedder.name}, whose vectors "
        "cannot be compared with those. To embed everything again: aegis reindex (searches go on meanwhile where a "
        f"server runs). To go on as before: AEGIS_EMBEDDER__KIND={current.settings.get('kind')}."
    )


async def _remembered_embedder(current: Remembered, opener: Opener, stack: AsyncExitStack) -> Embedder:
    from retrieval.embedding.missing import MissingEmbedder

    try:
        opened = await stack.enter_async_context(opener.embedder(current.opened_by(opener.settings.embedder)))
        opener.check(opened)
    except ConfigurationError as error:
        logger.warning("The embedder %s cannot be opened any more: %s", current.embedder, error)
        return MissingEmbedder(current.embedder, current.dimensions, error.message)
    if opened.name == current.embedder:
        return opened
    return MissingEmbedder(current.embedder, current.dimensions, "its files have changed")


def remove_others(folder: Path, kept: set[str]) -> None:
    """Indexes that were replaced, or given up."""
    with contextlib.suppress(OSError):
        for place in folder.iterdir():
            if place.is_dir() and place.name not in kept:
                shutil.rmtree(place, ignore_errors=True)
