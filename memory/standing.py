"""Standing questions: what the documents did not answer, kept until they do, if whoever asked agrees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import JSON, BigInteger, Column, Index, RowMapping, String, Table, Text, delete, func, select, update

from aegis.database import Database, Timestamp, metadata
from aegis.database.schema import insert_missing
from aegis.errors import Conflict, NotFound, TooLarge
from aegis.scope import Scope, derived_id
from memory.conversations import Turn

MOST_OPEN = 200  # of one person

StandingState = Literal["open", "answered"]

standing = Table(
    "standing_questions",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("owner", String(120), nullable=False),
    Column("question", Text, nullable=False),
    Column("mode", String(12), nullable=False),
    Column("turn_id", String(36), nullable=False),
    Column("conversation_id", String(36), nullable=False),
    Column("state", String(12), nullable=False),
    Column("checked", BigInteger, nullable=False),  # the epoch up to which no document answers it
    Column("evidence", JSON, nullable=False),  # [{document_id, chunk_id, title, quote}]
    Column("created_at", Timestamp, nullable=False),
    Column("found_at", Timestamp),
    Column("told_at", Timestamp),
    Index("ix_standing_questions_owner", "owner", "id"),
    Index("ix_standing_questions_state", "state", "checked"),
)


@dataclass(frozen=True, slots=True)
class StandingQuestion:
    id: str
    owner: str
    question: str
    mode: str
    turn_id: str
    conversation_id: str
    state: StandingState
    checked: int
    evidence: Sequence[Mapping[str, Any]]
    created_at: datetime
    found_at: datetime | None
    told_at: datetime | None


class StandingQuestions:
    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def keep(self, scope: Scope, turn: Turn) -> StandingQuestion:
        """Keep what an abstention of this person could not answer; the same for the same turn.

        Raises Conflict where the turn is no abstention, TooLarge where MOST_OPEN are open.
        """
        if not turn.abstained or turn.state != "done":
            raise Conflict("Only a question that was not answered can be kept open.", turn_id=turn.id)
        if await self._open(scope) >= MOST_OPEN:
            raise TooLarge(f"{MOST_OPEN} of your questions are open already; close some first.", limit=MOST_OPEN)
        identifier = derived_id("standing", turn.id)
        row = {
            "id": identifier, "owner": scope.user, "question": turn.standalone or turn.question,
            "mode": turn.mode, "turn_id": turn.id, "conversation_id": turn.conversation_id, "state": "open",
            "checked": turn.epoch, "evidence": [], "created_at": self._clock(),
        }  # fmt: skip
        async with self._database.write() as connection:
            await connection.execute(insert_missing(standing, connection.dialect.name).values(row))
        return await self.get(scope, identifier)

    async def get(self, scope: Scope, id: str) -> StandingQuestion:
        found = await self._rows(select(standing).where(standing.c.id == id, standing.c.owner == scope.user))
        if not found:
            raise NotFound(f"There is no standing question {id}.", id=id)
        return found[0]

    async def list(
        self, scope: Scope, *, state: str = "", after: str = "", limit: int = 100
    ) -> Sequence[StandingQuestion]:
        query = select(standing).where(standing.c.owner == scope.user, standing.c.id > after)
        if state:
            query = query.where(standing.c.state == state)
        return await self._rows(query.order_by(standing.c.id).limit(limit))

    async def news(self, scope: Scope) -> Sequence[StandingQuestion]:
        """Those answered that their asker was not told of; from now on they are taken to be told."""
        mine = (standing.c.owner == scope.user, standing.c.state == "answered", standing.c.told_at.is_(None))
        found = await self._rows(select(standing).where(*mine).order_by(standing.c.found_at).limit(20))
        if found:
            told = update(standing).where(standing.c.id.in_([one.id for one in found]))
            async with self._database.write() as connection:
                await connection.execute(told.values(told_at=self._clock()))
        return found

    async def close(self, scope: Scope, id: str) -> None:
        gone = delete(standing).where(standing.c.id == id, standing.c.owner == scope.user)
        async with self._database.write() as connection:
            if not (await connection.execute(gone)).rowcount:
                raise NotFound(f"There is no standing question {id}.", id=id)

    async def due(self, epoch: int, limit: int) -> Sequence[StandingQuestion]:
        """Anybody's, not checked at this epoch yet. For the background only."""
        query = select(standing).where(standing.c.state == "open", standing.c.checked < epoch)
        return await self._rows(query.order_by(standing.c.checked, standing.c.id).limit(limit))

    async def checked(self, id: str, epoch: int, evidence: Sequence[Mapping[str, Any]] = ()) -> None:
        """With evidence it is answered, and its asker will be told."""
        values: dict[str, Any] = {"checked": epoch}
        if evidence:
            values |= {"state": "answered", "evidence": list(evidence), "found_at": self._clock()}
        async with self._database.write() as connection:
            await connection.execute(update(standing).where(standing.c.id == id).values(**values))

    async def _open(self, scope: Scope) -> int:
        query = select(func.count()).where(standing.c.owner == scope.user, standing.c.state == "open")
        async with self._database.read() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def _rows(self, query: Any) -> list[StandingQuestion]:
        async with self._database.read() as connection:
            return [_question(row) for row in (await connection.execute(query)).mappings()]


def _question(row: RowMapping) -> StandingQuestion:
    return StandingQuestion(**row)
