"""The composition root: the one place that names concrete adapters.

`open_services` opens everything once per process and closes it in reverse order. `current()` is the one deliberate
global, for Chainlit callbacks and `langgraph` factories, which cannot be handed arguments.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from aegis import telemetry
from aegis.database import Database, open_database
from aegis.database.leases import Leases
from aegis.database.migrations import upgrade
from aegis.database.outbox import Outbox
from aegis.errors import Unavailable
from aegis.folder import own_folder, record_format
from aegis.scope import new_id
from aegis.settings import EdgeSettings, Neo4jSettings, Settings, SQLiteSettings

if TYPE_CHECKING:
    from inference.routing import RoutedWriter
    from memory.conversations import SqlConversations
    from memory.facts import Neighbourhoods
    from memory.facts.neo4j import Neo4jGraph
    from memory.facts.store import FactStore
    from memory.modes import ModeSearcher
    from retrieval.blobs import Blobs
    from retrieval.catalogue import Catalogue
    from retrieval.embedding import Embedder
    from retrieval.intake import Intake
    from retrieval.projection import Projection, Resettable, Target, VectorProjection

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that is open, by port. Nothing here is made per request."""

    settings: Settings
    database: Database
    outbox: Outbox
    catalogue: Catalogue
    blobs: Blobs
    vectors: Resettable
    embedder: Embedder
    searcher: ModeSearcher
    ingestion: Intake
    facts: FactStore
    neighbourhoods: Neighbourhoods
    conversations: SqlConversations
    writer: RoutedWriter
    projections: Projections
    samples: asyncio.Task[None]

    async def prepared(self) -> None:
        """Returns when the first question can be answered: on the very first start, the samples are in."""
        await asyncio.shield(self.samples)


@dataclass(frozen=True, slots=True)
class Progress:
    running: bool
    done: int
    total: int


class Projections:
    """The indexes that are filled from the outbox, taken together."""

    def __init__(self, all: Sequence[Projection], vectors: VectorProjection) -> None:
        self.all = all
        self._vectors = vectors
        self._rebuilding: asyncio.Task[None] | None = None
        self._last = 0

    async def rebuild(self) -> None:
        """Start to fill the vector store anew, unless that is being done already."""
        if self._rebuilding is None or self._rebuilding.done():
            self._rebuilding = asyncio.create_task(self._vectors.rebuild("a rebuild was asked for"))
            await asyncio.sleep(0)

    def progress(self) -> Progress:
        running = self._rebuilding is not None and not self._rebuilding.done()
        if self._vectors.progress is not None:
            done, self._last = self._vectors.progress
            return Progress(True, done, self._last)
        return Progress(running, 0 if running else self._last, self._last)

    async def aclose(self) -> None:
        if self._rebuilding is not None:
            self._rebuilding.cancel()
            with suppress(asyncio.CancelledError):
                await self._rebuilding


_current: Services | None = None


def current() -> Services:
    """What this process has open. Raises Unavailable before and after."""
    if _current is None:
        raise Unavailable("The server is starting or stopping; try again shortly.")
    return _current


def _now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def open_services(
    settings: Settings, *, command: str = "serve", patience: float = 0.0
) -> AsyncGenerator[Services]:
    """Own the data folder and open everything in it. `patience`: seconds to wait for another command to leave it.

    Raises DataFolderError, StoreUnavailable, IndexUnavailable.
    """
    global _current
    os.environ.setdefault("GRAPHITI_TELEMETRY_ENABLED", "false")
    async with AsyncExitStack() as stack:
        url = settings.address if command in ("serve", "studio") else ""
        folder = await stack.enter_async_context(own_folder(settings.folder, command, url, patience))
        database = await stack.enter_async_context(open_database(settings.database, folder))
        await upgrade(database)
        services = await _composed(settings, folder, database, stack)
        stack.push_async_callback(_cancelled, asyncio.create_task(telemetry.watch_loop()))
        _current = services
        try:
            yield services
        finally:
            _current = None


async def _composed(settings: Settings, folder: Path, database: Database, stack: AsyncExitStack) -> Services:
    from inference.routing import open_writer
    from memory.conversations import SqlConversations
    from memory.facts.store import FactStore
    from memory.mentions import GraphSearcher, MentionFollower
    from memory.modes import ModeSearcher
    from retrieval.blobs import blobs_at
    from retrieval.catalogue import Catalogue
    from retrieval.embedding import open_embedder
    from retrieval.keywords import KeywordEncoder
    from retrieval.projection import Projection, VectorProjection, running
    from retrieval.search import HybridSearcher

    embedder = await stack.enter_async_context(open_embedder(settings.embedder))
    keywords = KeywordEncoder()
    vectors = await _open_vectors(settings, folder / "vectors" / embedder.name, embedder.dimensions, stack)
    leases = None if isinstance(settings.database, SQLiteSettings) else Leases(database, new_id())
    outbox, catalogue, blobs = Outbox(database), Catalogue(database), blobs_at(settings.blobs, folder)
    hybrid = HybridSearcher(
        vectors, embedder, keywords, catalogue, settings.retrieval, settings.chat.max_question_chars
    )
    searcher = ModeSearcher(hybrid, GraphSearcher(hybrid, MentionFollower(database, catalogue)))
    graph = await _open_graph(settings, stack)
    indexing = VectorProjection(database, outbox, vectors, embedder, keywords, leases, _now)
    others = [Projection(outbox, target, leases, _now) for target in _projection_targets(graph, database)]
    projections = await stack.enter_async_context(running(database, outbox, [indexing, *others]))
    ingestion = await _open_ingestion(
        settings, database, outbox, catalogue, blobs, embedder, projections, leases, stack
    )
    conversations = SqlConversations(database, _now)
    await conversations.interrupt_running()
    writer = await stack.enter_async_context(open_writer(settings.ollama, embedder.embed))
    together = Projections(projections, indexing)
    stack.push_async_callback(together.aclose)
    samples = asyncio.create_task(_take_in_samples(settings, catalogue, ingestion))
    stack.push_async_callback(_cancelled, samples)
    record_format(folder, embedder=embedder.name, qdrant_edge=importlib.metadata.version("qdrant-edge-py"))
    return Services(
        settings=settings,
        database=database,
        outbox=outbox,
        catalogue=catalogue,
        blobs=blobs,
        vectors=vectors,
        embedder=embedder,
        searcher=searcher,
        ingestion=ingestion,
        facts=FactStore(database, catalogue, embedder),
        neighbourhoods=_neighbourhoods(graph, database, catalogue),
        conversations=conversations,
        writer=writer,
        projections=together,
        samples=samples,
    )


async def _open_vectors(settings: Settings, folder: Path, dimensions: int, stack: AsyncExitStack) -> Resettable:
    if isinstance(settings.vectors, EdgeSettings):
        from retrieval.store.edge import open_edge

        return await stack.enter_async_context(open_edge(settings.vectors, folder, dimensions))
    from retrieval.store.server import open_qdrant

    return await stack.enter_async_context(open_qdrant(settings.vectors, dimensions))


async def _open_graph(settings: Settings, stack: AsyncExitStack) -> Neo4jGraph | None:
    if not isinstance(settings.graph, Neo4jSettings):
        return None
    from memory.facts.neo4j import open_neo4j

    return await stack.enter_async_context(open_neo4j(settings.graph))


def _projection_targets(graph: Neo4jGraph | None, database: Database) -> list[Target]:
    if graph is None:
        return []
    from memory.facts.neo4j import Neo4jProjection

    return [Neo4jProjection(graph, database)]


def _neighbourhoods(graph: Neo4jGraph | None, database: Database, catalogue: Catalogue) -> Neighbourhoods:
    from memory.facts.neighbourhoods import RelationalNeighbourhoods

    tables = RelationalNeighbourhoods(database, catalogue)
    if graph is None:
        return tables
    from memory.facts.neo4j import Neo4jNeighbourhoods

    return Neo4jNeighbourhoods(graph, tables)


async def _open_ingestion(
    settings: Settings,
    database: Database,
    outbox: Outbox,
    catalogue: Catalogue,
    blobs: Blobs,
    embedder: Embedder,
    projections: Sequence[Projection],
    leases: Leases | None,
    stack: AsyncExitStack,
) -> Intake:
    from memory.extraction import RuleExtractor
    from memory.facts.store import GraphWriter
    from retrieval.intake import Intake
    from retrieval.jobs import JobTable
    from retrieval.preparing import Preparer
    from retrieval.publishing import Publisher
    from retrieval.reading import Reader
    from retrieval.runner import Runner
    from retrieval.versions import Versions

    prepare = Preparer(settings.retrieval.chunk_tokens, RuleExtractor())
    versions = Versions(database, outbox, embedder, GraphWriter(), _now)
    publisher = Publisher(database, catalogue, outbox, leases, projections, _now)
    jobs = JobTable(database, new_id(), _now)
    reader = Reader(blobs, prepare, settings.ingestion)
    runner = Runner(jobs, versions, publisher, reader, settings.ingestion)
    intake = Intake(jobs, runner, publisher, catalogue, blobs, settings.ingestion)
    await stack.enter_async_context(intake.running())
    return intake


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _take_in_samples(settings: Settings, catalogue: Catalogue, ingestion: Intake) -> None:
    from aegis.samples import take_in_samples

    if settings.ingestion.samples:
        await take_in_samples(catalogue, ingestion)
