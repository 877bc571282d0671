"""Which chunks are still to be read by a model: the truth about it, in the relational store.

A chunk waits, is in hand, is done or has failed. It is done in the transaction that writes its facts, by whoever still
has it in hand: so each is done once, whatever dies in between.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, RowMapping, and_, case, delete, exists, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database import Database
from aegis.database.schema import insert_missing
from aegis.scope import Scope
from inference.sharing import is_private
from memory.reading.tables import quarantined, readings
from retrieval.tables import chunks, documents, versions, visible_at

State = Literal["waiting", "running", "done", "failed"]
VERSIONS = 20  # queued in one look


class Lost(Exception):
    """The chunk is not in hand here any more."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A chunk in hand. `attempts` counts this one."""

    chunk_id: str
    version_id: str
    document_id: str
    collection: str
    owner: str
    agreed: bool
    attempts: int
    title: str
    dated: datetime | None
    text: str


@dataclass(slots=True)
class Usage:
    """What reading a chunk took."""

    model: str = ""
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    nano: int = 0

    def values(self) -> dict[str, Any]:
        counts = {"calls": self.calls, "tokens_in": self.tokens_in, "tokens_out": self.tokens_out}
        return {"model": self.model[:200] or None, "nano_dollars": self.nano, **counts}


@dataclass(frozen=True, slots=True)
class Counts:
    """Of the chunks that a scope sees. `undecided`: waiting, and nobody has agreed to pay for them."""

    waiting: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    undecided: int = 0


class ReadingQueue:
    """`holder` names this process among those that work on the same store."""

    def __init__(self, database: Database, holder: str, now: Callable[[], datetime]) -> None:
        self._database = database
        self._holder = holder
        self._now = now

    async def renew(self, epoch: int) -> bool:
        """Queue the chunks of versions that are visible at this epoch and were not queued yet, newest last; forget
        those of versions that are gone or hidden and were not begun. Whether there may be more to queue."""
        known = select(readings.c.chunk_id).where(readings.c.version_id == versions.c.id).exists()
        fresh = select(versions.c.id).where(visible_at(epoch), versions.c.chunk_count > 0, ~known)
        async with self._database.read() as connection:
            found = [row[0] for row in await connection.execute(fresh.order_by(versions.c.indexed_at).limit(VERSIONS))]
        for version in found:
            await self._queue(version)
        seen = select(versions.c.id).where(versions.c.id == readings.c.version_id, visible_at(epoch)).exists()
        async with self._database.write() as connection:
            await connection.execute(delete(readings).where(readings.c.state == "waiting", ~seen))
        return len(found) == VERSIONS

    async def _queue(self, version: str) -> None:
        columns = [chunks.c.id, chunks.c.version_id, chunks.c.ordinal, documents.c.collection, documents.c.owner]
        named = ["chunk_id", "version_id", "ordinal", "collection", "owner"]
        fixed = {"state": "waiting", "agreed": False, "attempts": 0, "not_before": self._now(), "calls": 0}
        fixed |= {"tokens_in": 0, "tokens_out": 0, "nano_dollars": 0}
        rows = (
            select(*columns, *(literal(value, readings.c[name].type) for name, value in fixed.items()))
            .join(versions, versions.c.id == chunks.c.version_id)
            .join(documents, documents.c.id == versions.c.document_id)
            .where(chunks.c.version_id == version)
        )
        async with self._database.write() as connection:
            insert = insert_missing(readings, connection.dialect.name)
            await connection.execute(insert.from_select([*named, *fixed], rows))

    async def take_back(self) -> int:
        """What another process, or this one before it died, had in hand waits again. For whoever leads from now on."""
        others = and_(readings.c.state == "running", readings.c.holder != self._holder)
        async with self._database.write() as connection:
            return (await connection.execute(update(readings).where(others).values(state="waiting"))).rowcount

    async def take(self, epoch: int, payable: Collection[str] | None) -> Reading | None:
        """The next chunk, in hand from now on. `payable` None: whichever; else only chunks of these collections whose
        owner agreed to pay, none of a private document."""
        ready = [readings.c.state == "waiting", readings.c.not_before <= self._now()]
        if payable is not None:
            ready += [readings.c.agreed, readings.c.collection.in_(list(payable)), ~is_private(versions.c.document_id)]
        query = (
            select(readings, versions.c.document_id, versions.c.title, versions.c.dated, chunks.c.text)
            .join(chunks, chunks.c.id == readings.c.chunk_id)
            .join(versions, versions.c.id == readings.c.version_id)
            .where(*ready, visible_at(epoch))
            .order_by(readings.c.not_before, readings.c.version_id, readings.c.ordinal)
            .limit(1)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().first()
        if row is None:
            return None
        mine = and_(readings.c.chunk_id == row["chunk_id"], readings.c.state == "waiting")
        taken = update(readings).where(mine, readings.c.attempts == row["attempts"])
        async with self._database.write() as connection:
            values = {"state": "running", "holder": self._holder, "attempts": row["attempts"] + 1, "reason": None}
            if not (await connection.execute(taken.values(**values))).rowcount:
                return None
        return _reading(row, attempts=row["attempts"] + 1)

    async def done(self, connection: AsyncConnection, reading: Reading, usage: Usage) -> None:
        """In the transaction that writes its facts. Raises Lost."""
        finished = update(readings).where(self._held(reading)).values(state="done", reason=None, **usage.values())
        if not (await connection.execute(finished)).rowcount:
            raise Lost

    async def put_back(self, reading: Reading, reason: str, not_before: datetime, *, innocent: bool) -> None:
        """It waits again until then; `innocent`: for no fault of its own, so that this attempt does not count."""
        again = {"state": "waiting", "reason": reason, "not_before": not_before}
        again |= {"attempts": reading.attempts - innocent}
        async with self._database.write() as connection:
            await connection.execute(update(readings).where(self._held(reading)).values(**again))

    async def failed(self, reading: Reading, reason: str) -> None:
        async with self._database.write() as connection:
            await connection.execute(update(readings).where(self._held(reading)).values(state="failed", reason=reason))

    async def agree(self, scope: Scope, collections: Collection[str]) -> int:
        """The chunks of one's own documents may be read by a paid model, but for private ones; those that failed are
        tried again."""
        mine = and_(readings.c.owner == scope.user, readings.c.collection.in_(sorted(scope.collections)))
        open_ = readings.c.state.in_(("waiting", "failed"))
        may = and_(readings.c.collection.in_(list(collections)), ~_STAYS) if collections else literal(False)
        values = {"state": "waiting", "attempts": 0, "not_before": self._now(), "reason": None}
        agreed = case((may, True), else_=readings.c.agreed)
        async with self._database.write() as connection:
            return (
                await connection.execute(update(readings).where(mine, open_).values(**values, agreed=agreed))
            ).rowcount

    async def counts(self, scope: Scope) -> Counts:
        undecided = func.sum(case((and_(readings.c.state == "waiting", ~readings.c.agreed), 1), else_=0))
        query = select(readings.c.state, func.count(), undecided).where(_seen(scope)).group_by(readings.c.state)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        found = {str(state): int(count) for state, count, _ in rows}
        return Counts(**found, undecided=sum(int(open_ or 0) for _, _, open_ in rows))

    async def staying(self, scope: Scope) -> int:
        """Chunks of private documents that wait: for a model on this machine."""
        query = select(func.count()).select_from(readings).where(_seen(scope), readings.c.state == "waiting", _STAYS)
        async with self._database.read() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def failures(self, scope: Scope, limit: int = 5) -> list[str]:
        """Reasons, each once."""
        query = select(readings.c.reason).distinct().where(_seen(scope), readings.c.state == "failed").limit(limit)
        async with self._database.read() as connection:
            return [row[0] for row in await connection.execute(query)]

    async def sample(self, scope: Scope, collections: Sequence[str], most: int) -> tuple[list[Reading], int]:
        """Some of one's own undecided chunks that may be sent, evenly taken, and how many there are."""
        mine = [readings.c.owner == scope.user, readings.c.state == "waiting", ~readings.c.agreed]
        mine += [readings.c.collection.in_(list(collections)), ~_STAYS]
        async with self._database.read() as connection:
            total = int((await connection.execute(select(func.count()).where(*mine))).scalar_one())
            step = max(1, total // most)
            place = func.row_number().over(order_by=(readings.c.version_id, readings.c.ordinal)).label("place")
            placed = select(readings.c.chunk_id, place).where(*mine).subquery()
            query = (
                select(readings, versions.c.document_id, versions.c.title, versions.c.dated, chunks.c.text)
                .join(placed, placed.c.chunk_id == readings.c.chunk_id)
                .join(chunks, chunks.c.id == readings.c.chunk_id)
                .join(versions, versions.c.id == readings.c.version_id)
                .where(placed.c.place % step == 0)
                .limit(most)
            )
            rows = (await connection.execute(query)).mappings().all()
        return [_reading(row) for row in rows], total

    def _held(self, reading: Reading) -> ColumnElement[bool]:
        return and_(
            readings.c.chunk_id == reading.chunk_id,
            readings.c.state == "running",
            readings.c.holder == self._holder,
            readings.c.attempts == reading.attempts,
        )


def _reading(row: RowMapping, attempts: int = 0) -> Reading:
    names = ("chunk_id", "version_id", "document_id", "collection", "owner", "agreed", "title", "dated", "text")
    return Reading(**{name: row[name] for name in names}, attempts=attempts)


_STAYS = exists(select(1).where(versions.c.id == readings.c.version_id, is_private(versions.c.document_id)))
"""Condition on readings: of a private document."""


def _seen(scope: Scope) -> ColumnElement[bool]:
    return readings.c.collection.in_(sorted(scope.collections))


async def forget_chunks(connection: AsyncConnection, chunk_ids: Sequence[str]) -> None:
    """With the evidence of these chunks goes what a model claimed of them, and that it read them."""
    await connection.execute(delete(quarantined).where(quarantined.c.episode_id.in_(list(chunk_ids))))
    await connection.execute(delete(readings).where(readings.c.chunk_id.in_(list(chunk_ids))))
