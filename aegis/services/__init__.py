"""The composition root: the one place that names concrete adapters.

`open_services` opens everything once per process and closes it in reverse order. `current()` is the one deliberate
global, for Chainlit callbacks and `langgraph` factories, which cannot be handed arguments.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aegis import __version__, telemetry
from aegis.database import Database, open_database
from aegis.database.leases import Leases
from aegis.database.migrations import upgrade
from aegis.database.outbox import Outbox
from aegis.database.signals import Signals
from aegis.errors import Unavailable
from aegis.folder import holder_of, own_folder, record_format, share_folder
from aegis.garbage import give_back, set_apart
from aegis.scope import new_id
from aegis.services.answers import open_answers
from aegis.services.background import cancelled
from aegis.services.clock import now
from aegis.services.consolidation import open_consolidation
from aegis.services.conversations import open_conversations
from aegis.services.facts import open_facts
from aegis.services.graph import graph_projection, neighbourhoods_of, open_graph
from aegis.services.index import Opener, open_index
from aegis.services.ingestion import open_ingestion
from aegis.services.projections import Projections
from aegis.services.reading import model_reader
from aegis.services.signals import open_signals
from aegis.settings import EdgeSettings, EmbedderSettings, Settings, SQLiteSettings
from aegis.tracing import traced

if TYPE_CHECKING:
    from inference.paying import Meter
    from inference.routing import RoutedWriter
    from inference.sharing import Sharing
    from memory.cache.answer_cache import AnswerCache
    from memory.conversations.tiers import TieredConversations
    from memory.facts import Neighbourhoods
    from memory.facts.audit import Auditor
    from memory.facts.conflicts import Conflicts
    from memory.facts.consolidation import Consolidation
    from memory.facts.control import FactControl
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
    from retrieval.ingestion.erasing import Eraser
    from retrieval.ingestion.intake import Intake
    from retrieval.interaction import MaxSim
    from retrieval.keywords import KeywordEncoder
    from retrieval.privacy import Privacy
    from retrieval.projection import Resettable
    from retrieval.reindexing import LiveIndex, Reindexing
    from retrieval.search import Searcher

DAY = 86_400.0  # seconds
SWITCH = 0.0002  # seconds a thread may keep the interpreter from others; Python's own 5 ms add up over a transaction


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
    closer: MaxSim  # and words
    searcher: Searcher
    ingestion: Intake
    privacy: Privacy
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


_current: Services | None = None


def current() -> Services:
    """What this process has open. Raises Unavailable before and after."""
    if _current is None:
        raise Unavailable("The server is starting or stopping; try again shortly.")
    return _current


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
            stack.push_async_callback(cancelled, asyncio.create_task(work))
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
    from memory.facts.descriptions import Describer
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
    from retrieval.privacy import Privacy
    from retrieval.projection import Projection, running
    from retrieval.reindexing import Reindexing

    folder = settings.folder
    owned, shared = _owns_folder(settings), not isinstance(settings.database, SQLiteSettings)
    holder = holder_of(folder) if owned else new_id()
    leases = Leases(database, holder) if shared else None
    keywords = KeywordEncoder()
    signals = await open_signals(settings, stack)
    outbox, catalogue = Outbox(database, signals), Catalogue(database, signals)
    blobs = blobs_at(settings.blobs, folder)
    await blobs.sweep(0.0 if owned and not settings.blobs.url else DAY)
    static = await asyncio.to_thread(open_wordllama)
    closer = MaxSim(static.word_vectors)
    budgets = budgets_of(settings, database, now)

    def metered(given: EmbedderSettings) -> Meter | None:
        return meter_of(given, settings, budgets)

    builds = asyncio.Lock()
    reader = await stack.enter_async_context(open_reader(settings.reranker))
    opener = Opener(
        settings, database, outbox, catalogue, keywords, closer, reader, leases, owned, now, metered, builds
    )
    index, unfinished = await stack.enter_async_context(open_index(opener, reindexing=command == "reindex"))
    graph = await open_graph(settings, stack)
    drawing = graph_projection(graph, database, outbox, leases)
    place = await stack.enter_async_context(
        open_facts(settings, database, outbox, static, keywords, leases, now, builds)
    )
    together = Projections(index, place.filling, drawing)
    learning = Projection(outbox, Learner(database, outbox), leases, now)
    followers = () if drawing is None else (drawing,)
    await stack.enter_async_context(running(database, outbox, [*followers, place.filling, learning]))
    publisher = Publisher(database, catalogue, outbox, leases, [index, place.filling], now, followers)
    answers, recalls = await open_answers(settings, static.dimensions, stack), AnswerRecalls(database, now)

    async def tell(gone: Sequence[str]) -> None:
        await answers.evict(gone)
        await recalls.queue(gone)

    privacy = Privacy(database, catalogue, outbox, now)
    ingestion, eraser = await open_ingestion(
        settings, database, outbox, catalogue, blobs, index, place, publisher, holder, privacy, tell, stack
    )
    reindexing = Reindexing(
        index, publisher, lambda: _embedder_wanted(settings), lambda: _record(index, keywords, folder, owned)
    )
    stack.push_async_callback(reindexing.aclose)
    conversations = await open_conversations(settings, database, blobs, static, keywords, closer, stack)
    conversations.learned = learning.caught_up
    writer = await stack.enter_async_context(open_writer(settings, budgets, static.embed, closer.scores))
    sharing = Sharing(database, settings.cloud, now)
    conversations.store.forgetting.append(sharing)
    facts = FactStore(database, catalogue, static, place.index)
    conversations.answers = answers
    stack.push_async_callback(together.aclose)
    reading = model_reader(
        settings, database, catalogue, outbox, writer, place.index, leases, new_id(), now, place.settled
    )
    if settings.extraction.enabled:
        stack.push_async_callback(cancelled, asyncio.create_task(reading.run(), name="reading"))
        describing = Describer(database, writer, leases, now, reading.turn, lambda: reading.busy())
        stack.push_async_callback(cancelled, asyncio.create_task(describing.run(), name="describing"))
    samples = asyncio.create_task(_take_in_samples(settings, catalogue, ingestion))
    stack.push_async_callback(cancelled, samples)
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
        closer=closer,
        searcher=index,
        ingestion=ingestion,
        privacy=privacy,
        facts=facts,
        fact_control=FactControl(database, facts, outbox, now, answers, place.settled),
        conflicts=Conflicts(database, catalogue),
        auditor=Auditor(database, catalogue),
        graph_size=GraphSize(database),
        reading=reading,
        consolidation=await open_consolidation(settings, database, outbox, catalogue, leases, stack),
        summaries=Summaries(database, catalogue),
        eraser=eraser,
        neighbourhoods=neighbourhoods_of(graph, database, catalogue),
        conversations=conversations,
        answers=answers,
        standing=StandingQuestions(database, now),
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


async def _take_in_samples(settings: Settings, catalogue: Catalogue, ingestion: Intake) -> None:
    from aegis.samples import take_in_samples

    if settings.ingestion.samples:
        await take_in_samples(catalogue, ingestion)
