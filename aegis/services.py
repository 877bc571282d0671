"""The composition root: the one place that names concrete adapters.

`open_services` opens everything once per process and closes it in reverse order. `current()` is the one deliberate
global, for Chainlit callbacks and `langgraph` factories, which cannot be handed arguments.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import logging
import os
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from aegis import telemetry
from aegis.database import Database, open_database
from aegis.database.leases import Leases
from aegis.database.migrations import upgrade
from aegis.database.outbox import Outbox
from aegis.database.signals import NoSignals, Signals
from aegis.errors import AegisError, ConfigurationError, Unavailable
from aegis.folder import holder_of, own_folder, record_format, recorded_format, share_folder
from aegis.scope import new_id
from aegis.settings import EdgeSettings, Neo4jSettings, QdrantSettings, RedisSettings, Settings, SQLiteSettings

if TYPE_CHECKING:
    from inference.routing import RoutedWriter
    from memory.cache.answer_cache import AnswerCache
    from memory.conversations.hot import HotTier
    from memory.conversations.tiers import TieredConversations
    from memory.facts import Neighbourhoods
    from memory.facts.neo4j import Neo4jGraph
    from memory.facts.projection import GraphProjection
    from memory.facts.store import FactStore
    from memory.modes import ModeSearcher
    from retrieval.blobs import Blobs
    from retrieval.catalogue import Catalogue
    from retrieval.embedding import Embedder
    from retrieval.embedding.wordllama import WordLlamaEmbedder
    from retrieval.ingestion.intake import Intake
    from retrieval.interaction import Reranker
    from retrieval.keywords import KeywordEncoder
    from retrieval.projection import Projection, Resettable

DAY = 86_400.0  # seconds
VECTORS = "vectors"  # the projection that fills the index
LEASE_SECONDS = 30.0
SWITCH = 0.001  # seconds a thread may keep the interpreter from others; Python's own 5 ms add up over a transaction

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
    static: WordLlamaEmbedder  # for what compares many sentences at once, whatever fills the index
    searcher: ModeSearcher
    ingestion: Intake
    facts: FactStore
    neighbourhoods: Neighbourhoods
    conversations: TieredConversations
    answers: AnswerCache
    writer: RoutedWriter
    projections: Projections
    signals: Signals
    samples: asyncio.Task[None]

    async def prepared(self) -> None:
        """Returns when the first question can be answered: on the very first start, the samples are in."""
        await asyncio.shield(self.samples)


@dataclass(frozen=True, slots=True)
class Progress:
    running: bool
    done: int
    total: int


class Rebuilt(Protocol):
    """A projection that can be made anew. `progress`: (done, total) while that goes on."""

    @property
    def name(self) -> str: ...

    progress: tuple[int, int] | None

    async def rebuild(self, reason: str) -> None: ...


class Projections:
    """The indexes that are filled from the outbox, taken together."""

    def __init__(self, all: Sequence[Projection], vectors: Rebuilt, graph: Rebuilt | None = None) -> None:
        self.all = all
        self._vectors = vectors
        self._graph = graph
        self._rebuilding: asyncio.Task[None] | None = None
        self._last = 0

    async def rebuild(self) -> None:
        """Start to fill the vector store anew, then the graph, unless that is being done already."""
        if self._rebuilding is None or self._rebuilding.done():
            self._rebuilding = asyncio.create_task(self._rebuild())
            await asyncio.sleep(0)

    def progress(self) -> Progress:
        """Chunks; while the graph is being filled, entities and facts."""
        if self._vectors.progress is not None:
            done, self._last = self._vectors.progress
            return Progress(True, done, self._last)
        if self._graph is not None and self._graph.progress is not None:
            return Progress(True, *self._graph.progress)
        running = self._rebuilding is not None and not self._rebuilding.done()
        return Progress(running, 0 if running else self._last, self._last)

    async def _rebuild(self) -> None:
        for one in (self._vectors, self._graph):
            try:
                if one is not None:
                    await one.rebuild("a rebuild was asked for")
            except AegisError as error:
                logger.warning("The projection %s is not rebuilt: %s", one.name if one else "", error)

    async def aclose(self) -> None:
        if self._rebuilding is not None:
            await _cancelled(self._rebuilding)


_current: Services | None = None


def current() -> Services:
    """What this process has open. Raises Unavailable before and after."""
    if _current is None:
        raise Unavailable("The server is starting or stopping; try again shortly.")
    return _current


def _now() -> datetime:
    return datetime.now(UTC)


def _owns_folder(settings: Settings) -> bool:
    """SQLite's and Qdrant Edge's files have one owner; blobs are written once, by their hash, and can be shared."""
    return isinstance(settings.database, SQLiteSettings) or isinstance(settings.vectors, EdgeSettings)


@asynccontextmanager
async def open_services(
    settings: Settings, *, command: str = "serve", patience: float = 0.0
) -> AsyncGenerator[Services]:
    """Own the data folder and open everything in it. `patience`: seconds to wait for another command to leave it.

    Where nothing that needs one owner lives in the folder, it is shared, and replicas run side by side.
    Raises ConfigurationError, DataFolderError, StoreUnavailable, IndexUnavailable.
    """
    global _current
    from aegis.backup.staging import finish

    os.environ.setdefault("GRAPHITI_TELEMETRY_ENABLED", "false")
    sys.setswitchinterval(SWITCH)
    async with AsyncExitStack() as stack:
        if _owns_folder(settings):
            url = settings.address if command in ("serve", "studio") else ""
            await stack.enter_async_context(own_folder(settings.folder, command, url, patience))
            await asyncio.to_thread(finish, settings.folder)
        else:
            share_folder(settings.folder)
        folder = settings.folder
        database = await stack.enter_async_context(open_database(settings.database, folder))
        await upgrade(database)
        telemetry.LONGEST_WRITE.forget()  # making the tables held up nobody
        services = await _composed(settings, folder, database, stack)
        stack.push_async_callback(_cancelled, asyncio.create_task(telemetry.watch_loop()))
        _current = services
        # A full collection walks everything that was imported, .2 s in which nothing runs: set it apart.
        gc.freeze()
        try:
            yield services
        finally:
            gc.unfreeze()
            _current = None


async def _composed(settings: Settings, folder: Path, database: Database, stack: AsyncExitStack) -> Services:
    from inference.routing import open_writer
    from memory.facts.learning import Learner
    from memory.facts.store import FactStore
    from memory.mentions import GraphSearcher, MentionFollower
    from memory.modes import ModeSearcher
    from retrieval.blobs import blobs_at
    from retrieval.catalogue import Catalogue
    from retrieval.embedding import open_embedder
    from retrieval.interaction import MaxSim
    from retrieval.keywords import KeywordEncoder
    from retrieval.projection import Projection, VectorProjection, running
    from retrieval.search import HybridSearcher

    owned, shared = _owns_folder(settings), not isinstance(settings.database, SQLiteSettings)
    holder = holder_of(folder) if owned else new_id()
    leases = Leases(database, holder) if shared else None
    if owned and leases is not None:
        await _refuse_second_index(leases)
    embedder = await stack.enter_async_context(open_embedder(settings.embedder))
    static = await _static(embedder)
    keywords = KeywordEncoder()
    vectors = await _open_vectors(settings, folder / "vectors" / embedder.name, embedder.dimensions, stack)
    if owned:
        await _reset_foreign_keywords(folder, keywords, vectors)
    signals = await _open_signals(settings, stack)
    outbox, catalogue = Outbox(database, signals), Catalogue(database, signals)
    blobs = blobs_at(settings.blobs, folder)
    await blobs.sweep(0.0 if owned and not settings.blobs.url else DAY)
    closer = MaxSim(static.word_vectors)
    hybrid = HybridSearcher(
        vectors,
        embedder,
        keywords,
        catalogue,
        settings.retrieval,
        settings.chat.max_question_chars,
        reranker=closer,
    )
    searcher = ModeSearcher(hybrid, GraphSearcher(hybrid, MentionFollower(database, catalogue)))
    graph = await _open_graph(settings, stack)
    indexing = VectorProjection(database, outbox, vectors, embedder, keywords, leases, _now)
    drawing = _graph_projection(graph, database, outbox, leases)
    filled = [indexing] if drawing is None else [indexing, drawing]
    learning = Projection(outbox, Learner(database, outbox), leases, _now)
    await stack.enter_async_context(running(database, outbox, [*filled, learning]))
    ingestion = await _open_ingestion(
        settings, database, outbox, catalogue, blobs, embedder, filled, leases, holder, stack
    )
    conversations = await _open_conversations(settings, database, blobs, embedder, keywords, closer, stack)
    conversations.learned = learning.caught_up
    writer = await stack.enter_async_context(open_writer(settings.ollama, static.embed))
    together = Projections(filled, indexing, drawing)
    stack.push_async_callback(together.aclose)
    samples = asyncio.create_task(_take_in_samples(settings, catalogue, ingestion))
    stack.push_async_callback(_cancelled, samples)
    if owned:
        record_format(
            folder,
            embedder=embedder.name,
            keywords=keywords.name,
            qdrant_edge=importlib.metadata.version("qdrant-edge-py"),
        )
    return Services(
        settings=settings,
        database=database,
        outbox=outbox,
        catalogue=catalogue,
        blobs=blobs,
        vectors=vectors,
        embedder=embedder,
        static=static,
        searcher=searcher,
        ingestion=ingestion,
        facts=FactStore(database, catalogue, static),
        neighbourhoods=_neighbourhoods(graph, database, catalogue),
        conversations=conversations,
        answers=await _open_answers(settings, static.dimensions, stack),
        writer=writer,
        projections=together,
        signals=signals,
        samples=samples,
    )


async def _open_vectors(settings: Settings, folder: Path, dimensions: int, stack: AsyncExitStack) -> Resettable:
    if isinstance(settings.vectors, EdgeSettings):
        from retrieval.store.edge import open_edge

        return await stack.enter_async_context(open_edge(settings.vectors, folder, dimensions))
    from retrieval.store.server import open_qdrant

    return await stack.enter_async_context(open_qdrant(settings.vectors, dimensions))


async def _static(embedder: Embedder) -> WordLlamaEmbedder:
    """The evidence judgement was fitted on these vectors, and a transformer would take a second for an answer."""
    from retrieval.embedding.wordllama import WordLlamaEmbedder, open_wordllama

    return embedder if isinstance(embedder, WordLlamaEmbedder) else await asyncio.to_thread(open_wordllama)


async def _reset_foreign_keywords(folder: Path, keywords: KeywordEncoder, vectors: Resettable) -> None:
    """Points whose keywords were made by another encoder find nothing any more: they are made anew."""
    written = recorded_format(folder)
    if written and written.get("keywords") != keywords.name:
        was = written.get("keywords", "an earlier encoder")
        await vectors.reset(f"keywords are made by {keywords.name} now, they were made by {was}")


async def _open_graph(settings: Settings, stack: AsyncExitStack) -> Neo4jGraph | None:
    if not isinstance(settings.graph, Neo4jSettings):
        return None
    from memory.facts.neo4j import open_neo4j

    return await stack.enter_async_context(open_neo4j(settings.graph))


def _graph_projection(
    graph: Neo4jGraph | None, database: Database, outbox: Outbox, leases: Leases | None
) -> GraphProjection | None:
    if graph is None:
        return None
    from memory.facts.neo4j import Neo4jProjection
    from memory.facts.projection import GraphProjection

    return GraphProjection(database, outbox, Neo4jProjection(graph, database), leases, _now)


async def _open_signals(settings: Settings, stack: AsyncExitStack) -> Signals:
    if not isinstance(settings.cache, RedisSettings):
        return NoSignals()
    from aegis.database.redis_signals import open_redis_signals

    return await stack.enter_async_context(open_redis_signals(settings.cache))


async def _open_answers(settings: Settings, dimensions: int, stack: AsyncExitStack) -> AnswerCache:
    """Replicas that share a Redis share answers; if they share a Qdrant server, too, also what questions resemble."""
    from memory.cache.answer_cache import AnswerCache
    from memory.cache.process import ProcessAnswers
    from memory.cache.questions import ExactQuestions, StoredQuestions

    limit = settings.answer_cache.limit
    hot = ProcessAnswers(settings.answer_cache.hot)
    if not isinstance(settings.cache, RedisSettings):
        return AnswerCache(hot, ProcessAnswers(limit), ExactQuestions(limit))
    from aegis.database.redis import open_redis
    from memory.cache.redis import RedisAnswers

    client = await stack.enter_async_context(open_redis(settings.cache))
    answers = RedisAnswers(client, settings.cache.prefix, limit)
    if not isinstance(settings.vectors, QdrantSettings):
        return AnswerCache(hot, answers, ExactQuestions(limit))
    from retrieval.store.server import open_qdrant

    own = settings.vectors.model_copy(update={"prefix": f"{settings.vectors.prefix}_questions"})
    return AnswerCache(
        hot, answers, StoredQuestions(await stack.enter_async_context(open_qdrant(own, dimensions)), limit)
    )


async def _refuse_second_index(leases: Leases) -> None:
    """An index in a data folder is filled by one server only: another's, on the same store, would stay empty.

    Raises ConfigurationError. A server that was killed in another folder is waited for until its lease ends.
    """
    waits = 0
    while not await leases.take(f"projection:{VECTORS}", _now(), LEASE_SECONDS):
        if waits > LEASE_SECONDS:
            raise ConfigurationError(
                "Another server works on this relational store, and this one would keep its vectors in a data folder "
                "of its own. Replicas share a Qdrant server: set AEGIS_VECTORS__KIND=qdrant."
            )
        if not waits:
            logger.info("Another server works on this relational store; waiting for it to leave")
        waits += 1
        await asyncio.sleep(1)


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
    holder: str,
    stack: AsyncExitStack,
) -> Intake:
    from memory.extraction import RuleExtractor
    from memory.facts.store import GraphWriter
    from retrieval.ingestion.intake import Intake
    from retrieval.ingestion.jobs import JobTable
    from retrieval.ingestion.preparing import Preparer
    from retrieval.ingestion.publishing import Publisher
    from retrieval.ingestion.reading import Reader
    from retrieval.ingestion.runner import Runner
    from retrieval.ingestion.versions import Versions

    prepare = Preparer(settings.retrieval.chunk_tokens, RuleExtractor())
    versions = Versions(database, outbox, embedder, GraphWriter(), _now)
    publisher = Publisher(database, catalogue, outbox, leases, projections, _now)
    jobs = JobTable(database, holder, _now)
    reader = Reader(blobs, prepare, settings.ingestion)
    runner = Runner(jobs, versions, publisher, reader, settings.ingestion, outbox.signals)
    intake = Intake(jobs, runner, publisher, catalogue, blobs, settings.ingestion)
    await stack.enter_async_context(intake.running())
    return intake


async def _open_conversations(
    settings: Settings,
    database: Database,
    blobs: Blobs,
    embedder: Embedder,
    keywords: KeywordEncoder,
    closer: Reranker,
    stack: AsyncExitStack,
) -> TieredConversations:
    from memory.conversations.archive import STALE, Archive
    from memory.conversations.index import TurnIndex
    from memory.conversations.store import SqlConversations
    from memory.conversations.tiers import TieredConversations

    shared = not isinstance(settings.database, SQLiteSettings)
    archive = Archive(database, blobs, _now)
    store = SqlConversations(database, _now, archive)
    # Other replicas may be working on the turns that are younger than any turn may become.
    lost = _now() - timedelta(seconds=settings.chat.deadline) if shared else None
    await store.interrupt_running(begun_before=lost)
    try:
        await archive.sweep(STALE if shared else timedelta())
    except AegisError as error:
        logger.warning("Archives that nobody needs any more are removed later: %s", error)
    index = TurnIndex(database, store, embedder, keywords, _now, closer)
    tiers = TieredConversations(store, await _open_hot_tier(settings, stack), index, archive)
    await stack.enter_async_context(tiers.running())
    return tiers


async def _open_hot_tier(settings: Settings, stack: AsyncExitStack) -> HotTier:
    from memory.conversations.hot import ProcessHot

    if not isinstance(settings.cache, RedisSettings):
        return ProcessHot()
    from memory.conversations.hot_redis import open_redis_hot

    return await stack.enter_async_context(open_redis_hot(settings.cache))


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})  # its own failure was logged where it happened


async def _take_in_samples(settings: Settings, catalogue: Catalogue, ingestion: Intake) -> None:
    from aegis.samples import take_in_samples

    if settings.ingestion.samples:
        await take_in_samples(catalogue, ingestion)
