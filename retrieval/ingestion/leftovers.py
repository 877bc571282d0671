"""Leftovers: what was written of files that came to nothing, and that nobody ever saw."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from sqlalchemy import select

from retrieval.ingestion.jobs import JobTable
from retrieval.ingestion.versions import Versions
from retrieval.tables import NEVER, versions


@dataclass(frozen=True, slots=True)
class Leftovers:
    jobs: JobTable
    versions: Versions
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def clear(self) -> None:
        async with self._turn:
            for file in await self.jobs.leftovers():
                if file.version_id is not None and await self._unseen(file.version_id):
                    await self.versions.discard(file.version_id)
                await self.jobs.cleared(file)

    async def _unseen(self, version: str) -> bool:
        query = select(versions.c.id).where(versions.c.id == version, versions.c.visible_from == NEVER)
        async with self.jobs.database.read() as connection:
            return (await connection.execute(query)).first() is not None
