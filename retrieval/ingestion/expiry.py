"""Old versions are kept for `known_at`, but not for ever: so many of a document, and for so many days.

What has expired is taken away with its text, chunks, facts and points. A question about an epoch from which a
document's version was taken away does not find that document any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, func, or_, select

from aegis.database import Database
from aegis.database.leases import Leases
from aegis.errors import AegisError
from aegis.settings import IngestionSettings
from retrieval.ingestion.versions import Versions
from retrieval.tables import NEVER, epochs, publications, versions

EVERY = 600.0  # seconds between looks
LIMIT = 500  # versions taken away at one look
LEASE = "expiry"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Expiry:
    database: Database
    versions: Versions
    settings: IngestionSettings
    leases: Leases | None
    now: Callable[[], datetime]

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                if self.leases is None or await self.leases.take(LEASE, self.now(), EVERY):
                    await self.expire()
            except AegisError as error:
                logger.warning("Old versions could not be taken away: %s", error)
            await asyncio.sleep(EVERY)

    async def expire(self) -> int:
        """Takes away what has expired by now; how many versions that were."""
        gone = await self._expired()
        for version in gone:
            await self.versions.discard(version)
        if gone:
            logger.info("%d old versions were taken away", len(gone))
        return len(gone)

    async def _expired(self) -> list[str]:
        """Only of publications that are closed: nobody sees those versions at the newest epoch."""
        age = func.row_number().over(partition_by=versions.c.document_id, order_by=versions.c.visible_until.desc())
        newest = select(func.coalesce(func.max(epochs.c.value), 0)).scalar_subquery()
        replaced = (
            select(versions.c.id, versions.c.visible_until, age.label("age"))
            .where(versions.c.visible_until < NEVER, versions.c.visible_until <= newest)
            .subquery()
        )
        until = self.now() - timedelta(days=self.settings.kept_days)
        late = and_(publications.c.epoch == replaced.c.visible_until, publications.c.closed_at < until)
        query = (
            select(replaced.c.id)
            .where(or_(replaced.c.age > self.settings.kept_versions, select(publications.c.epoch).where(late).exists()))
            .order_by(replaced.c.visible_until)
            .limit(LIMIT)
        )
        async with self.database.read() as connection:
            return [row[0] for row in await connection.execute(query)]
