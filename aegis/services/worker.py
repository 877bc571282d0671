"""Part of the composition root: what a worker process opens, which is far less than a server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from socket import gethostname
from typing import TYPE_CHECKING

from aegis.database import Database, open_database
from aegis.database.migrations import upgrade
from aegis.database.outbox import Outbox
from aegis.errors import ConfigurationError
from aegis.folder import share_folder
from aegis.scope import new_id
from aegis.services.background import cancelled
from aegis.services.clock import now
from aegis.services.signals import open_signals
from aegis.settings import RedisSettings, Settings, SQLiteSettings

if TYPE_CHECKING:
    from retrieval.embedding import Embedder
    from retrieval.ingestion.worker import Worker


@asynccontextmanager
async def open_worker(settings: Settings) -> AsyncGenerator[Worker]:
    """Answers calls while it is open, where there is a Redis. Raises ConfigurationError, StoreUnavailable."""
    from inference.paying import meter_of
    from inference.routing import budgets_of
    from inference.sharing import check_embedder
    from memory.extraction import RuleExtractor
    from memory.facts.writing import GraphWriter
    from retrieval.blobs import blobs_at
    from retrieval.embedding import open_embedder
    from retrieval.ingestion.calling import answer
    from retrieval.ingestion.claims import Claims
    from retrieval.ingestion.jobs import JobTable
    from retrieval.ingestion.lanes import Lanes
    from retrieval.ingestion.leftovers import Leftovers
    from retrieval.ingestion.preparing import Preparer
    from retrieval.ingestion.versions import Versions
    from retrieval.ingestion.worker import SharedReader, Worker

    _refuse(settings)
    name = f"{gethostname()[:20]}-{os.getpid()}-{new_id()[:8]}"
    async with AsyncExitStack() as stack:
        share_folder(settings.folder)
        database = await stack.enter_async_context(open_database(settings.database, settings.folder))
        await upgrade(database)
        check_embedder(settings.embedder, settings)
        budgets, trusted = budgets_of(settings, database, now), settings.ollama.trusted_hosts
        opening = open_embedder(settings.embedder, lambda given: meter_of(given, settings, budgets), trusted)
        embedder = await stack.enter_async_context(opening)
        outbox = Outbox(database, await open_signals(settings, stack))
        versions = Versions(database, outbox, lambda: embedder, GraphWriter(), now)
        prepare = Preparer(settings.retrieval.chunk_tokens, RuleExtractor())
        reader = SharedReader(blobs_at(settings.blobs, settings.folder), prepare, settings.ingestion)
        leftovers = Leftovers(JobTable(database, name, now), versions)
        lanes = Lanes(Claims(database, name, now), versions, reader, leftovers, settings.ingestion)
        worker = Worker(lanes, settings.ingestion, lambda: _check_embedder(database, embedder), name)
        if isinstance(settings.cache, RedisSettings):
            answering = answer(settings.cache, worker.take_up, settings.ingestion.parallel_jobs)
            stack.push_async_callback(cancelled, asyncio.create_task(answering, name="answering calls"))
        yield worker


def _refuse(settings: Settings) -> None:
    if isinstance(settings.database, SQLiteSettings):
        raise ConfigurationError(
            "A worker shares a relational store with a server, which SQLite is not made for; there `aegis serve` works "
            "on its jobs itself. Set AEGIS_DATABASE__KIND=postgres and AEGIS_DATABASE__URL for both."
        )
    if settings.ingestion.workers == 0:
        raise ConfigurationError("A worker needs at least one reading process: set AEGIS_INGESTION__WORKERS.")


async def _check_embedder(database: Database, embedder: Embedder) -> None:
    """The index's embedder is remembered with it; vectors of another one would be made in vain.

    Raises ConfigurationError.
    """
    from retrieval.indexes import remembered

    current = (await remembered(database)).get("current")
    if current is not None and current.embedder != embedder.name:
        raise ConfigurationError(
            f"The index is filled by the embedder {current.embedder}, this worker was set to {embedder.name}. "
            "Give it the server's AEGIS_EMBEDDER__ settings and start it again."
        )
