"""What a model claimed of documents without their saying so: listed with the reason, and never searched."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, select

from aegis.database import Database
from aegis.scope import Scope
from memory.facts.visibility import Epoch
from memory.reading.tables import quarantined
from retrieval.tables import versions, visible_at


@dataclass(frozen=True, slots=True)
class Quarantined:
    """`quote` is the sentence of the passage that comes closest."""

    id: str
    subject: str
    relation: str
    object: str
    text: str
    quote: str
    reason: str
    model: str
    at: datetime
    chunk_id: str
    document_id: str
    title: str


class Quarantine:
    def __init__(self, database: Database, epoch: Epoch) -> None:
        self._database = database
        self._epoch = epoch

    async def page(self, scope: Scope, *, after: str = "", limit: int = 100) -> list[Quarantined]:
        """Of documents as they are now, in order of id."""
        columns = [quarantined.c[name] for name in ("id", "subject", "relation", "object", "text", "quote", "reason")]
        columns += [quarantined.c.model, quarantined.c.at, quarantined.c.episode_id]
        query = (
            select(*columns, versions.c.document_id, versions.c.title)
            .join(versions, and_(versions.c.id == quarantined.c.version_id, visible_at(await self._epoch.epoch())))
            .where(quarantined.c.collection.in_(sorted(scope.collections)), quarantined.c.id > after)
            .order_by(quarantined.c.id)
            .limit(limit)
        )
        async with self._database.read() as connection:
            return [Quarantined(*row) for row in await connection.execute(query)]

    async def total(self, scope: Scope) -> int:
        query = (
            select(func.count())
            .select_from(quarantined)
            .join(versions, and_(versions.c.id == quarantined.c.version_id, visible_at(await self._epoch.epoch())))
            .where(quarantined.c.collection.in_(sorted(scope.collections)))
        )
        async with self._database.read() as connection:
            return int((await connection.execute(query)).scalar_one())
