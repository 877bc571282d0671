"""Answer recall: which saved answers rest on a version of a document, and what they would be today, once it is gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Connection, ForeignKey, Index, String, Table, select, update

from aegis.database import Database, Timestamp, metadata
from aegis.database.schema import insert_missing
from aegis.scope import Scope
from memory.conversations import Turn

MOST_AT_ONCE = 1_000  # answers put in the queue in one transaction

# Written with the turn, so that an answer whose body is archived is found as well.
rests = Table(
    "turn_sources",
    metadata,
    Column("version_id", String(36), primary_key=True),
    Column("turn_id", ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True),
    Column("owner", String(120), nullable=False),
)

recalls = Table(
    "answer_recalls",
    metadata,
    Column("turn_id", ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True),
    Column("owner", String(120), nullable=False),
    Column("state", String(12), nullable=False),  # queued | same | different
    Column("difference", JSON, nullable=False),  # of a different one: what `recalled` shows
    Column("changed_at", Timestamp, nullable=False),
    Index("ix_answer_recalls_state", "state", "changed_at"),
)


@dataclass(frozen=True, slots=True)
class Queued:
    turn_id: str
    owner: str


def rest_on(connection: Connection, owner: str, turn: Turn) -> None:
    """Rows of what the turn's answer cites, in the transaction that saves it."""
    cited = sorted({citation.version_id for citation in turn.citations})
    rows = [{"version_id": version, "turn_id": turn.id, "owner": owner} for version in cited]
    if rows and turn.state == "done":
        connection.execute(insert_missing(rests, connection.dialect.name), rows)


class AnswerRecalls:
    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def queue(self, versions: Sequence[str]) -> int:
        """The answers that rest on versions which have gone will be asked again; how many."""
        now = self._clock()
        query = select(rests.c.turn_id, rests.c.owner).where(rests.c.version_id.in_(list(versions))).distinct()
        async with self._database.read() as connection:
            found = [tuple(row) for row in await connection.execute(query)]
        for start in range(0, len(found), MOST_AT_ONCE):
            part = found[start : start + MOST_AT_ONCE]
            rows = [
                {"turn_id": turn, "owner": owner, "state": "queued", "difference": {}, "changed_at": now}
                for turn, owner in part
            ]
            again = update(recalls).where(recalls.c.turn_id.in_([turn for turn, _ in part]))
            async with self._database.write() as connection:
                await connection.execute(insert_missing(recalls, connection.dialect.name), rows)
                await connection.execute(again.values(state="queued", changed_at=now))
        return len(found)

    async def next(self) -> Queued | None:
        """The one that waits for longest. It stays in the queue until it is settled, so that a crash loses none."""
        query = select(recalls.c.turn_id, recalls.c.owner).where(recalls.c.state == "queued")
        async with self._database.read() as connection:
            row = (await connection.execute(query.order_by(recalls.c.changed_at).limit(1))).one_or_none()
        return Queued(*row) if row else None

    async def settle(self, turn_id: str, difference: Mapping[str, Any]) -> None:
        """Empty: it would be the same."""
        values = {"state": "different" if difference else "same", "difference": dict(difference)}
        change = update(recalls).where(recalls.c.turn_id == turn_id)
        async with self._database.write() as connection:
            await connection.execute(change.values(**values, changed_at=self._clock()))

    async def of(self, scope: Scope, turn_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """By turn, for those that would be different today or are about to be looked at."""
        query = select(recalls).where(
            recalls.c.turn_id.in_(list(turn_ids)), recalls.c.owner == scope.user, recalls.c.state != "same"
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings()
            return {
                row["turn_id"]: {"state": row["state"], "changed_at": row["changed_at"], **row["difference"]}
                for row in rows
            }
