"""The composition root: the one place that names concrete adapters.

`open_services` opens everything once per process and closes it in reverse order. `current()` is the one deliberate
global, for Chainlit callbacks and `langgraph` factories, which cannot be handed arguments.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from aegis import __version__, telemetry
from aegis.database import Database, open_database
from aegis.database.leases import Leases
from aegis.database.migrations import upgrade
from aegis.database.outbox import Outbox
from aegis.database.signals import NoSignals, Signals
from aegis.errors import AegisError, ConfigurationError, Unavailable
from aegis.facts import FactPlace, open_facts
from aegis.folder import holder_of, own_folder, record_format, share_folder
from aegis.garbage import give_back, set_apart
from aegis.index import Opener, open_index
from aegis.reading import model_reader
from aegis.scope import new_id
from aegis.settings import (
    EdgeSettings,
    EmbedderSettings,
    Neo4jSettings,
    QdrantSettings,
    RedisSettings,
    Settings,
    SQLiteSettings,
)
from aegis.tracing import traced

if TYPE_CHECKING:
    from inference.paying import Meter
    from inference.routing import RoutedWriter
    from inference.sharing import Sharing
    from memory.cache.answer_cache import AnswerCache
    from memory.conversations.hot import HotTier
    from memory.conversations.tiers import TieredConversations
    from memory.facts import Neighbourhoods
    from memory.facts.audit import Auditor
    from memory.facts.conflicts import Conflicts
    from memory.facts.consolidation import Consolidation
    from memory.facts.control import FactControl
    from memory.facts.neo4j import Neo4jGraph
    from memory.facts.projection import GraphProjection
    from memory.facts.size import GraphSize
    from memory.facts.store import FactStore
    from memory.facts.summaries import Summaries
    from memory.reading.reader import ModelReader
    from memory.recalls import AnswerRecalls
    from memory.standing import StandingQuestions
    from retrieval.blobs import Blobs
    from retrieval.catalogue import Catalogue
    from retrieval.embedding import Embedder
    from retrieval.embedding.wordllama import WordLlamaEmbedder
    from retrieval.ingestion.calling import Caller
    from retrieval.ingestion.erasing import Eraser
    from retrieval.ingestion.intake import Intake
    from retrieval.ingestion.publishing import Publisher
    from retrieval.interaction import Reranker
    from retrieval.keywords import KeywordEncoder
    from retrieval.projection import Projection, Resettable, VectorProjection
    from retrieval.reindexing import LiveIndex, Reindexing
    from retrieval.search import Searcher

DAY = 86_400.0  # seconds
SWITCH = 0.0002  # seconds a thread may keep the interpreter from others; Python's own 5 ms add up over a transaction

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that is open, by port. Nothing here is made per request."""

    settings: Settings
    database: Database
    outbox: Outbox
    catalogue: Catalogue
    blobs: Blobs
    index: LiveIndex
    reindexing: Reindexing
    static: WordLlamaEmbedder  # for what compares many sentences at once, whatever fills the index
    searcher: Searcher
    ingestion: Intake
    facts: FactStore
    fact_control: FactControl
    conflicts: Conflicts
    auditor: Auditor
    graph_size: GraphSize
    reading: ModelReader
    consolidation: Consolidation
    summaries: Summaries
    eraser: Eraser
    neighbourhoods: Neighbourhoods
    conversations: TieredConversations
    answers: AnswerCache
    standing: StandingQuestions
    recalls: AnswerRecalls
    writer: RoutedWriter
    sharing: Sharing
    projections: Projections
    signals: Signals
    samples: asyncio.Task[None]

    @property
    def vectors(self) -> Resettable:
        return self.index.now.store

    @property
    def embedder(self) -> Embedder:
        return self.index.now.embedder

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

    def __init__(self, index: LiveIndex, facts: VectorProjection, graph: GraphProjection | None = None) -> None:
        self._index = index
        self._facts = facts
        self._graph = graph
        self._rebuilding: asyncio.Task[None] | None = None
        self._last = 0

    @property
    def all(self) -> Sequence[Projection]:
        vectors = [self._index.now.projection, self._facts]
        return vectors if self._graph is None else [*vectors, self._graph]

    async def rebuild(self) -> None:
        """Start to fill the indexes anew, then the graph, unless that is being done already."""
        if self._rebuilding is None or self._rebuilding.done():
            self._rebuilding = asyncio.create_task(self._rebuild())
            await asyncio.sleep(0)

    def progress(self) -> Progress:
        """Chunks; while the index of facts or the graph is being filled, entities and facts."""
        vectors = self._index.now.projection.progress
        if vectors is not None:
            done, self._last = vectors
            return Progress(True, done, self._last)
        for further in (self._facts.progress, None if self._graph is None else self._graph.progress):
            if further is not None:
                return Progress(True, *further)
        running = self._rebuilding is not None and not self._rebuilding.done()
        return Progress(running, 0 if running else self._last, self._last)

    async def _rebuild(self) -> None:
        standing: list[Rebuilt] = [self._index.now.projection, self._facts]
        standing += [] if self._graph is None else [self._graph]
        for one in standing:
            try:
                await one.rebuild("a rebuild was asked for")
            except AegisError as error:
                logger.warning("The projection %s is not rebuilt: %s", one.name, error)

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
        services = await _composed(settings, command, database, stack)
        for work in (telemetry.watch_loop(), give_back()):
            stack.push_async_callback(_cancelled, asyncio.create_task(work))
        _current = services
        try:
            with set_apart(), traced(__version__):
                yield services
        finally:
            _current = None


async def _composed(settings: Settings, command: str, database: Database, stack: AsyncExitStack) -> Services:
    from inference.paying import meter_of
    from inference.routing import budgets_of, open_writer
    from inference.sharing import Sharing
    from memory.facts.audit import Auditor
    from memory.facts.conflicts import Conflicts
    from memory.facts.control import FactControl
    from memory.facts.learning import Learner
    from memory.facts.size import GraphSize
    from memory.facts.store import FactStore
    from memory.facts.summaries import Summaries
    from memory.recalls import AnswerRecalls
    from memory.standing import StandingQuestions
    from retrieval.blobs import blobs_at
    from retrieval.catalogue import Catalogue
    from retrieval.crossencoder import open_reader
    from retrieval.embedding.wordllama import open_wordllama
    from retrieval.ingestion.publishing import Publisher
    from retrieval.interaction import MaxSim
    from retrieval.keywords import KeywordEncoder
    from retrieval.projection import Projection, running
    from retrieval.reindexing import Reindexing

    folder = settings.folder
    owned, shared = _owns_folder(settings), not isinstance(settings.database, SQLiteSettings)
    holder = holder_of(folder) if owned else new_id()
    leases = Leases(database, holder) if shared else None
    keywords = KeywordEncoder()
    signals = await _open_signals(settings, stack)
    outbox, catalogue = Outbox(database, signals), Catalogue(database, signals)
    blobs = blobs_at(settings.blobs, folder)
    await blobs.sweep(0.0 if owned and not settings.blobs.url else DAY)
    static = await asyncio.to_thread(open_wordllama)
    closer = MaxSim(static.word_vectors)
    budgets = budgets_of(settings, database, _now)

    def metered(given: EmbedderSettings) -> Meter | None:
        return meter_of(given, settings, budgets)

    builds = asyncio.Lock()
    reader = await stack.enter_async_context(open_reader(settings.reranker))
    opener = Opener(
        settings, database, outbox, catalogue, keywords, closer, reader, leases, owned, _now, metered, builds
    )
    index, unfinished = await stack.enter_async_context(open_index(opener, reindexing=command == "reindex"))
    graph = await _open_graph(settings, stack)
    drawing = _graph_projection(graph, database, outbox, leases)
    place = await stack.enter_async_context(
        open_facts(settings, database, outbox, static, keywords, leases, _now, builds)
    )
    together = Projections(index, place.filling, drawing)
    learning = Projection(outbox, Learner(database, outbox), leases, _now)
    followers = () if drawing is None else (drawing,)
    await stack.enter_async_context(running(database, outbox, [*followers, place.filling, learning]))
    publisher = Publisher(database, catalogue, outbox, leases, [index, place.filling], _now, followers)
    answers, recalls = await _open_answers(settings, static.dimensions, stack), AnswerRecalls(database, _now)

    async def tell(gone: Sequence[str]) -> None:
        await answers.evict(gone)
        await recalls.queue(gone)

    ingestion, eraser = await _open_ingestion(
        settings, database, outbox, catalogue, blobs, index, place, publisher, holder, tell, stack
    )
    reindexing = Reindexing(
        index, publisher, lambda: _embedder_wanted(settings), lambda: _record(index, keywords, folder, owned)
    )
    stack.push_async_callback(reindexing.aclose)
    conversations = await _open_conversations(settings, database, blobs, static, keywords, closer, stack)
    conversations.learned = learning.caught_up
    writer = await stack.enter_async_context(open_writer(settings, budgets, static.embed, closer.scores))
    sharing = Sharing(database, settings.cloud, _now)
    conversations.store.forgetting.append(sharing)
    facts = FactStore(database, catalogue, static, place.index)
    conversations.answers = answers
    stack.push_async_callback(together.aclose)
    reading = model_reader(settings, database, catalogue, outbox, writer, place.index, leases, new_id(), _now)
    if settings.extraction.enabled:
        stack.push_async_callback(_cancelled, asyncio.create_task(reading.run(), name="reading"))
    samples = asyncio.create_task(_take_in_samples(settings, catalogue, ingestion))
    stack.push_async_callback(_cancelled, samples)
    _record(index, keywords, folder, owned)
    if unfinished:
        await reindexing.start()
    return Services(
        settings=settings,
        database=database,
        outbox=outbox,
        catalogue=catalogue,
        blobs=blobs,
        index=index,
        reindexing=reindexing,
        static=static,
        searcher=index,
        ingestion=ingestion,
        facts=facts,
        fact_control=FactControl(database, facts, outbox, _now, answers, place.settled),
        conflicts=Conflicts(database, catalogue),
        auditor=Auditor(database, catalogue),
        graph_size=GraphSize(database),
        reading=reading,
        consolidation=await _consolidating(settings, database, outbox, catalogue, leases, stack),
        summaries=Summaries(database, catalogue),
        eraser=eraser,
        neighbourhoods=_neighbourhoods(graph, database, catalogue),
        conversations=conversations,
        answers=answers,
        standing=StandingQuestions(database, _now),
        recalls=recalls,
        writer=writer,
        sharing=sharing,
        projections=together,
        signals=signals,
        samples=samples,
    )


def _record(index: LiveIndex, keywords: KeywordEncoder, folder: Path, owned: bool) -> None:
    """What the data folder was written by."""
    if owned:
        edge = importlib.metadata.version("qdrant-edge-py")
        record_format(folder, embedder=index.now.embedder.name, keywords=keywords.name, qdrant_edge=edge)


def _embedder_wanted(settings: Settings) -> EmbedderSettings:
    """By the settings as they are now; what may leave is what this process was started with."""
    from inference.sharing import check_embedder

    wanted = Settings().embedder
    check_embedder(wanted, settings)
    return wanted


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
    index: LiveIndex,
    place: FactPlace,
    publisher: Publisher,
    holder: str,
    tell: Callable[[Sequence[str]], Awaitable[None]],
    stack: AsyncExitStack,
) -> tuple[Intake, Eraser]:
    from memory.extraction import RuleExtractor
    from memory.facts.writing import GraphWriter
    from retrieval.ingestion.erasing import Eraser
    from retrieval.ingestion.expiry import Expiry
    from retrieval.ingestion.intake import Intake
    from retrieval.ingestion.jobs import JobTable
    from retrieval.ingestion.preparing import Preparer
    from retrieval.ingestion.reading import Reader
    from retrieval.ingestion.runner import Runner
    from retrieval.ingestion.versions import Versions

    prepare = Preparer(settings.retrieval.chunk_tokens, RuleExtractor())
    versions = Versions(database, outbox, index.embedder, GraphWriter(), _now)
    jobs = JobTable(database, holder, _now)
    reader = Reader(blobs, prepare, settings.ingestion)
    caller = await _open_caller(settings, stack)
    runner = Runner(jobs, versions, publisher, reader, settings.ingestion, outbox.signals, caller)
    intake = Intake(jobs, runner, publisher, catalogue, blobs, settings.ingestion)
    await stack.enter_async_context(intake.running())
    expiry = Expiry(database, versions, settings.ingestion, publisher.leases, _now)
    stack.push_async_callback(_cancelled, asyncio.create_task(expiry.run(), name="expiry"))
    others = ["graph"] if isinstance(settings.graph, Neo4jSettings) else []
    others += ["cached answers"] if isinstance(settings.cache, RedisSettings) else []

    async def rebuild(reason: str) -> None:
        await index.now.projection.rebuild(reason)
        await place.filling.rebuild(reason)

    return intake, Eraser(database, publisher, versions, blobs, rebuild, tell, others)


async def _consolidating(
    settings: Settings,
    database: Database,
    outbox: Outbox,
    catalogue: Catalogue,
    leases: Leases | None,
    stack: AsyncExitStack,
) -> Consolidation:
    from memory.facts.consolidation import Consolidation

    hour = settings.memory.consolidate_at if settings.memory.consolidate else None
    consolidation = Consolidation(database, outbox, catalogue, leases, _now, hour)
    stack.push_async_callback(consolidation.aclose)
    stack.push_async_callback(_cancelled, asyncio.create_task(consolidation.run(), name="consolidation"))
    return consolidation


async def _open_caller(settings: Settings, stack: AsyncExitStack) -> Caller | None:
    """Workers are called through Redis, where they can share the relational store at all."""
    if isinstance(settings.database, SQLiteSettings):
        if settings.ingestion.workers == 0:
            raise ConfigurationError(
                "AEGIS_INGESTION__WORKERS=0 leaves all files to `aegis worker`, which needs PostgreSQL "
                "(AEGIS_DATABASE__KIND=postgres). On SQLite set it to 1 or more."
            )
        return None
    if not isinstance(settings.cache, RedisSettings):
        return None
    from retrieval.ingestion.calling import open_caller

    return await stack.enter_async_context(open_caller(settings.cache))


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
    from memory.conversations.summaries import SqlSummaries
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
    hot, summed = await _open_hot_tier(settings, stack), SqlSummaries(database, store)
    tiers = TieredConversations(store, hot, index, archive, summed)
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
