"""The outbox: what the projections still have to be told, written in the transaction that made it true.

A projection (the vector store, Neo4j) reads rows in order of `seq`, applies them idempotently, then remembers the
last one applied. Killed in between, it applies some rows again: they carry deterministic ids, so nothing doubles.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    String,
    Table,
    bindparam,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database.engine import Database
from aegis.database.schema import Sequence as SequenceType
from aegis.database.schema import metadata
from aegis.database.signals import NoSignals, Signals

outbox = Table(
    "outbox",
    metadata,
    Column("seq", SequenceType, primary_key=True, autoincrement=True),
    Column("topic", String(40), nullable=False, index=True),
    Column("payload", JSON, nullable=False),
    sqlite_autoincrement=True,
)

projections = Table(
    "projections",
    metadata,
    Column("name", String(120), primary_key=True),
    Column("applied", BigInteger, nullable=False),
)

_TOPICS = outbox.c.topic.in_(bindparam("topics", expanding=True))
_LAST = select(func.coalesce(func.max(outbox.c.seq), 0)).where(_TOPICS)
_PENDING = (
    select(outbox.c.seq, outbox.c.topic, outbox.c.payload)
    .where(_TOPICS, outbox.c.seq > bindparam("after"))
    .order_by(outbox.c.seq)
    .limit(bindparam("most"))
)
_APPLIED = select(projections.c.applied).where(projections.c.name == bindparam("projection"))
_INSERT = insert(outbox)
_CONFIRM = update(projections).where(projections.c.name == bindparam("projection")).values(applied=bindparam("reached"))
_IN_ORDER = text("SELECT pg_advisory_xact_lock(:key)")
_POSTGRES_LOCK = 7_120_411  # any constant: makes outbox rows commit in the order of their numbers


@dataclass(frozen=True, slots=True)
class OutboxRow:
    seq: int
    topic: str
    payload: Any


async def append(connection: AsyncConnection, topic: str, payloads: Sequence[Any]) -> None:
    """Add rows inside the caller's transaction."""
    if not payloads:
        return
    if connection.dialect.name == "postgresql":
        await connection.execute(_IN_ORDER, {"key": _POSTGRES_LOCK})
    await connection.execute(insert(outbox), _rows(topic, payloads))


def put(connection: Connection, topic: str, payloads: Sequence[Any]) -> None:
    """The same in a unit of `Database.transact`."""
    if not payloads:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(_IN_ORDER, {"key": _POSTGRES_LOCK})
    connection.execute(_INSERT, _rows(topic, payloads))


def _rows(topic: str, payloads: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"topic": topic, "payload": payload} for payload in payloads]


class Outbox:
    """Reading side. `wake` wakes the projections of this process; replicas are told, or find rows by polling."""

    def __init__(self, database: Database, signals: Signals | None = None) -> None:
        self._database = database
        self._arrived: set[asyncio.Event] = set()
        self.signals = signals or NoSignals()
        self.signals.listen("outbox", self._wake_here)

    def listener(self) -> asyncio.Event:
        event = asyncio.Event()
        self._arrived.add(event)
        return event

    def wake(self) -> None:
        """Call after a transaction that appended rows has committed."""
        self._wake_here()
        self.signals.send("outbox")

    def _wake_here(self) -> None:
        for event in self._arrived:
            event.set()

    async def last(self, topics: Sequence[str]) -> int:
        return await self._database.look(lambda c: int(c.execute(_LAST, {"topics": topics}).scalar_one()))

    async def pending(self, topics: Sequence[str], after: int, limit: int) -> list[OutboxRow]:
        given = {"topics": topics, "after": after, "most": limit}
        return await self._database.look(lambda c: [OutboxRow(*row) for row in c.execute(_PENDING, given)])

    async def applied(self, projection: str) -> int:
        given = {"projection": projection}
        return int(await self._database.look(lambda c: c.execute(_APPLIED, given).scalar_one_or_none()) or 0)

    async def confirm(self, projection: str, seq: int) -> None:
        def confirmed(connection: Connection) -> None:
            if not connection.execute(_CONFIRM, {"projection": projection, "reached": seq}).rowcount:
                connection.execute(insert(projections).values(name=projection, applied=seq))

        await self._database.transact(confirmed)
