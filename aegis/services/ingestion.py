"""Part of the composition root: what takes documents in, and what erases them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from aegis.database import Database
from aegis.database.outbox import Outbox
from aegis.errors import ConfigurationError
from aegis.services.background import cancelled
from aegis.services.clock import now
from aegis.services.facts import FactPlace
from aegis.settings import Neo4jSettings, RedisSettings, Settings, SQLiteSettings

if TYPE_CHECKING:
    from retrieval.blobs import Blobs
    from retrieval.catalogue import Catalogue
    from retrieval.ingestion.calling import Caller
    from retrieval.ingestion.erasing import Eraser
    from retrieval.ingestion.intake import Intake
    from retrieval.ingestion.publishing import Publisher
    from retrieval.privacy import Privacy
    from retrieval.reindexing import LiveIndex


async def open_ingestion(
    settings: Settings,
    database: Database,
    outbox: Outbox,
    catalogue: Catalogue,
    blobs: Blobs,
    index: LiveIndex,
    place: FactPlace,
    publisher: Publisher,
    holder: str,
    privacy: Privacy,
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
    versions = Versions(database, outbox, index.embedder, GraphWriter(), now)
    jobs = JobTable(database, holder, now)
    reader = Reader(blobs, prepare, settings.ingestion)
    caller = await _open_caller(settings, stack)
    runner = Runner(jobs, versions, publisher, reader, settings.ingestion, outbox.signals, caller)
    intake = Intake(jobs, runner, publisher, catalogue, blobs, settings.ingestion, privacy)
    await stack.enter_async_context(intake.running())
    expiry = Expiry(database, versions, settings.ingestion, publisher.leases, now)
    stack.push_async_callback(cancelled, asyncio.create_task(expiry.run(), name="expiry"))
    others = ["graph"] if isinstance(settings.graph, Neo4jSettings) else []
    others += ["cached answers"] if isinstance(settings.cache, RedisSettings) else []

    async def rebuild(reason: str) -> None:
        await index.now.projection.rebuild(reason)
        await place.filling.rebuild(reason)

    return intake, Eraser(database, publisher, versions, blobs, rebuild, tell, others)


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
