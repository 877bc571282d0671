"""Conversations in the relational store, SQLite or PostgreSQL: the tier that every turn is committed to first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, and_, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database import Database
from aegis.database.outbox import append
from aegis.errors import InvalidInput, NotFound
from aegis.scope import Scope
from memory.conversations import MAX_TITLE, Citation, Conversation, Turn, plain, title_of
from memory.conversations.tables import TURNS_TOPIC, conversations, turns
from memory.facts.store import column, remove_episodes

MAX_WORDS = 12  # of a question, used to find earlier turns


class SqlConversations:
    """The port on the relational store, SQLite or PostgreSQL."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def begin(self, scope: Scope, turn: Turn) -> None:
        async with self._database.write() as connection:
            await self._enter(connection, scope, turn)
            await self._add(connection, turn)

    async def finish(self, scope: Scope, turn: Turn) -> None:
        async with self._database.write() as connection:
            await self._enter(connection, scope, turn)
            changed = await connection.execute(
                update(turns)
                .where(turns.c.id == turn.id, turns.c.conversation_id == turn.conversation_id)
                .values(state=turn.state, answer=plain(turn.answer), record=_record(turn))
            )
            if not changed.rowcount:
                await self._add(connection, turn)

    async def history(self, scope: Scope, conversation_id: str, *, last: int | None = None) -> list[Turn]:
        query = _turn_query(scope).where(turns.c.conversation_id == conversation_id)
        if last is None:
            return await self._turns(query.order_by(turns.c.ordinal))
        return (await self._turns(query.order_by(turns.c.ordinal.desc()).limit(last)))[::-1]

    async def get(self, scope: Scope, conversation_id: str) -> Conversation:
        query = select(conversations).where(_mine(scope, conversation_id))
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        if row is None:
            raise _no_conversation(conversation_id)
        return Conversation(**row)

    async def list(
        self, scope: Scope, *, before: str = "", limit: int = 50, holding: str = ""
    ) -> Sequence[Conversation]:
        table = conversations.c
        query = select(conversations).where(table.owner == scope.user)
        if holding:
            query = query.where(_holds(plain(holding)))
        if before:
            when, identifier = _cursor(before)
            query = query.where(or_(table.updated_at < when, and_(table.updated_at == when, table.id < identifier)))
        query = query.order_by(table.updated_at.desc(), table.id.desc()).limit(limit)
        async with self._database.read() as connection:
            return [Conversation(**row) for row in (await connection.execute(query)).mappings()]

    async def turn(self, scope: Scope, turn_id: str) -> Turn:
        found = await self._turns(_turn_query(scope).where(turns.c.id == turn_id))
        if not found:
            raise _no_turn(turn_id)
        return found[0]

    async def mentioning(self, scope: Scope, words: Sequence[str], *, limit: int = 50) -> Sequence[Turn]:
        if not words:
            return []
        holds = or_(
            *(
                column.icontains(word, autoescape=True)
                for word in words[:MAX_WORDS]
                for column in (turns.c.question, turns.c.answer)
            )
        )
        query = _turn_query(scope).where(holds, turns.c.state == "done")
        return await self._turns(query.order_by(turns.c.created_at.desc(), turns.c.id.desc()).limit(limit))

    async def rename(self, scope: Scope, conversation_id: str, title: str) -> Conversation:
        shown = title_of(title)
        if not shown:
            raise InvalidInput("A conversation's title needs at least one visible character.", title=title[:MAX_TITLE])
        change = update(conversations).where(_mine(scope, conversation_id)).values(title=shown)
        async with self._database.write() as connection:
            if not (await connection.execute(change)).rowcount:
                raise _no_conversation(conversation_id)
        return await self.get(scope, conversation_id)

    async def delete(self, scope: Scope, conversation_id: str) -> None:
        of_it = select(turns.c.id).join(conversations).where(_mine(scope, conversation_id))
        async with self._database.write() as connection:
            await remove_episodes(connection, await column(connection, of_it))
            if not (await connection.execute(delete(conversations).where(_mine(scope, conversation_id)))).rowcount:
                raise _no_conversation(conversation_id)

    async def feedback(self, scope: Scope, turn_id: str, feedback: Mapping[str, Any] | None) -> None:
        mine = select(conversations.c.id).where(conversations.c.owner == scope.user)
        change = update(turns).where(turns.c.id == turn_id, turns.c.conversation_id.in_(mine))
        async with self._database.write() as connection:
            if not (await connection.execute(change.values(feedback=_safe(feedback)))).rowcount:
                raise _no_turn(turn_id)

    async def interrupt_running(self, *, begun_before: datetime | None = None) -> int:
        """Mark turns that nobody works on any more; returns how many.

        Called at start-up. Where other processes share the store, `begun_before` spares what they may be working on;
        one marked too early is put right when it is finished.
        """
        moment = begun_before or self._clock() + timedelta(days=1)
        change = update(turns).where(turns.c.state == "running", turns.c.created_at < moment)
        async with self._database.write() as connection:
            return (await connection.execute(change.values(state="interrupted"))).rowcount

    async def _enter(self, connection: AsyncConnection, scope: Scope, turn: Turn) -> None:
        """Make the conversation or touch it, and hold its row, so that its turns are numbered one at a time."""
        now = self._clock()
        insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(conversations)
        new = {"id": turn.conversation_id, "owner": scope.user, "title": title_of(turn.question) or "..."}
        await connection.execute(
            insert.values(**new, created_at=now, updated_at=now).on_conflict_do_nothing(index_elements=["id"])
        )
        touched = await connection.execute(
            update(conversations).where(_mine(scope, turn.conversation_id)).values(updated_at=now)
        )
        if not touched.rowcount:
            raise _no_conversation(turn.conversation_id)

    async def _add(self, connection: AsyncConnection, turn: Turn) -> None:
        last = select(func.coalesce(func.max(turns.c.ordinal), 0)).where(
            turns.c.conversation_id == turn.conversation_id
        )
        await connection.execute(
            turns.insert().values(
                id=turn.id,
                conversation_id=turn.conversation_id,
                ordinal=int((await connection.execute(last)).scalar_one()) + 1,
                state=turn.state,
                question=plain(turn.question),
                answer=plain(turn.answer),
                record=_record(turn),
                feedback=_safe(turn.feedback),
                created_at=turn.created_at or self._clock(),
            )
        )
        await append(connection, TURNS_TOPIC, [{"turn": turn.id}])

    async def _turns(self, query: Any) -> list[Turn]:
        async with self._database.read() as connection:
            return [_turn(row) for row in (await connection.execute(query)).mappings()]


def _mine(scope: Scope, conversation_id: str) -> Any:
    return and_(conversations.c.id == conversation_id, conversations.c.owner == scope.user)


def _holds(words: str) -> Any:
    said = or_(*(column.icontains(words, autoescape=True) for column in (turns.c.question, turns.c.answer)))
    titled = conversations.c.title.icontains(words, autoescape=True)
    return or_(titled, select(turns.c.id).where(turns.c.conversation_id == conversations.c.id, said).exists())


def _turn_query(scope: Scope) -> Any:
    owned = conversations.c.owner == scope.user
    return select(turns).join(conversations, conversations.c.id == turns.c.conversation_id).where(owned)


_COLUMNS = ("id", "conversation_id", "question", "state", "answer", "feedback", "created_at")
_TUPLES = ("chunk_ids", "fact_ids", "steps", "notes")


def _record(turn: Turn) -> dict[str, Any]:
    return {key: _safe(value) for key, value in asdict(turn).items() if key not in _COLUMNS}


def _turn(row: RowMapping) -> Turn:
    record = dict(row["record"])
    record["citations"] = tuple(Citation(**citation) for citation in record.get("citations", ()))
    record.update({key: tuple(record.get(key, ())) for key in _TUPLES})
    return Turn(**{key: row[key] for key in _COLUMNS}, **record)


def _safe(value: Any) -> Any:
    """The same as every JSON column takes it: finite numbers, clean text, lists."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {plain(str(key)): _safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_safe(item) for item in value]
    return value if value is None or isinstance(value, bool | int) else plain(str(value))


def _cursor(text: str) -> tuple[datetime, str]:
    micros, _, identifier = text.partition(":")
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(micros)), identifier
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{text[:80]!r} is not a cursor; take `next` of the page before.") from error


def _no_conversation(conversation_id: str) -> NotFound:
    return NotFound(f"There is no conversation {conversation_id}.", conversation_id=conversation_id)


def _no_turn(turn_id: str) -> NotFound:
    return NotFound(f"There is no turn {turn_id}.", turn_id=turn_id)
