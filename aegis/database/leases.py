"""Leases: at most one holder of a name at a time, across processes, until a moment in time."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Column, String, Table, delete, insert, or_, update
from sqlalchemy.exc import IntegrityError

from aegis.database.engine import Database
from aegis.database.schema import Timestamp, metadata

leases = Table(
    "leases",
    metadata,
    Column("name", String(120), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("until", Timestamp, nullable=False),
)


class Leases:
    def __init__(self, database: Database, holder: str) -> None:
        self._database = database
        self._holder = holder

    async def take(self, name: str, now: datetime, seconds: float) -> bool:
        """Take or extend the lease; False while somebody else holds it."""
        until = now + timedelta(seconds=seconds)
        free = or_(leases.c.holder == self._holder, leases.c.until < now)
        async with self._database.write() as connection:
            taken = await connection.execute(
                update(leases).where(leases.c.name == name, free).values(holder=self._holder, until=until)
            )
            if taken.rowcount:
                return True
        try:
            async with self._database.write() as connection:
                await connection.execute(insert(leases).values(name=name, holder=self._holder, until=until))
        except IntegrityError:
            return False
        return True

    async def release(self, name: str) -> None:
        mine = (leases.c.name == name) & (leases.c.holder == self._holder)
        async with self._database.write() as connection:
            await connection.execute(delete(leases).where(mine))
