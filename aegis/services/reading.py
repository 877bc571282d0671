"""Part of the composition root: what reads documents with a language model, in the background."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING

from aegis.database import Database
from aegis.database.leases import Leases
from aegis.database.outbox import Outbox
from aegis.settings import Settings

if TYPE_CHECKING:
    from inference.routing import RoutedWriter
    from memory.facts.index import FactIndex
    from memory.reading.reader import ModelReader
    from retrieval.catalogue import Catalogue


def model_reader(
    settings: Settings,
    database: Database,
    catalogue: Catalogue,
    outbox: Outbox,
    writer: RoutedWriter,
    index: FactIndex,
    leases: Leases | None,
    holder: str,
    now: Callable[[], datetime],
    settled: Callable[[], Awaitable[None]] | None = None,
) -> ModelReader:
    """`settled` returns when changed facts can be found.

    It reads while its `run` does, which is for whoever opens it to start.
    """
    from langchain_core.rate_limiters import InMemoryRateLimiter  # a token bucket

    from memory.reading.quarantine import Quarantine
    from memory.reading.queue import ReadingQueue
    from memory.reading.reader import ModelReader

    a_second = settings.extraction.calls_per_minute / 60
    bucket = InMemoryRateLimiter(
        requests_per_second=a_second, check_every_n_seconds=0.05, max_bucket_size=max(1.0, a_second)
    )
    return ModelReader(
        settings=settings.extraction,
        database=database,
        epoch=catalogue,
        outbox=outbox,
        models=writer,
        queue=ReadingQueue(database, holder, now),
        quarantine=Quarantine(database, catalogue, outbox, now, settled),
        index=index,
        leases=leases,
        now=now,
        may_send=settings.cloud.may_send,
        collections=catalogue.collections,
        turn=bucket.aacquire,
    )
