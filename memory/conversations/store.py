"""Conversations in the relational store, SQLite or PostgreSQL: the tier that every turn is committed to first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, bindparam, delete, func, or_, select, update

from aegis.database import Database
from aegis.database.outbox import put
from aegis.database.schema import insert_missing
from aegis.errors import InvalidInput, NotFound
from aegis.scope import Scope
from inference.sharing import draws
from memory.conversations import (
    MAX_TITLE,
    RECENT,
    SAID,
    Conversation,
    Forgetting,
    Receipt,
    Turn,
    cited,
    plain,
    title_of,
)
from memory.conversations.archive import Archive
from memory.conversations.record import COLUMNS, record_of, safe, turn_of
from memory.conversations.tables import TURNS_TOPIC, archives, conversations, turns, unindexed
from memory.facts.rows import column
from memory.facts.writing import remove_episodes
from memory.recalls import rest_on
from memory.statements import states

MAX_WORDS = 12  # of a question, used to find earlier turns


class SqlConversations:
    """The port on the relational store. `archive` reads back the bodies that no longer stand in the rows.

    `forgetting` is asked when a conversation is erased; whoever draws something from turns adds itself there.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime], archive: Archive | None = None) -> None:
        self._database = database
        self._clock = clock
        self._archive = archive
        self.forgetting: list[Forgetting] = []

    async def begin(self, scope: Scope, turn: Turn) -> None:
        def begun(connection: Connection) -> None:
            self._enter(connection, scope, turn)
            self._add(connection, turn)

        await self._database.transact(begun)

    async def finish(self, scope: Scope, turn: Turn) -> None:
        await self.save(scope, turn)

    async def save(self, scope: Scope, turn: Turn) -> tuple[int, Turn]:
        """What `finish` does; the conversation's new version, and the turn as it stands now."""
        record = record_of(turn)
        said = {"question": plain(turn.question), "answer": plain(turn.answer), "record": record}

        given = {"turn": turn.id, "conversation": turn.conversation_id, "reached": turn.state}
        given |= {f"said_{name}": value for name, value in said.items()}

        def saved(connection: Connection) -> tuple[int, tuple[Any, datetime]]:
            version = self._enter(connection, scope, turn, more=1)
            row = connection.execute(_FINISH, given).one_or_none()
            kept = self._add(connection, turn) if row is None else (row.feedback, row.created_at)
            rest_on(connection, scope.user, turn)
            draws(connection, scope.user, turn.conversation_id, turn.drawn_on, turn.retold)
            connection.execute(
                insert_missing(unindexed, connection.dialect.name), {"turn_id": turn.id, "owner": scope.user}
            )
            return version, kept

        version, (feedback, created_at) = await self._database.transact(saved)
        there = {"id": turn.id, "conversation_id": turn.conversation_id, "state": turn.state, **said}
        return version, turn_of(there | {"feedback": feedback, "created_at": created_at}, record)

    async def history(self, scope: Scope, conversation_id: str, *, last: int | None = None) -> list[Turn]:
        query = _turn_query(scope).where(turns.c.conversation_id == conversation_id)
        if last is None:
            return await self._turns(query.order_by(turns.c.ordinal))
        return (await self._turns(query.order_by(turns.c.ordinal.desc()).limit(last)))[::-1]

    async def page(self, scope: Scope, conversation_id: str, *, after: int, limit: int) -> list[Turn]:
        query = _turn_query(scope).where(turns.c.conversation_id == conversation_id).order_by(turns.c.ordinal)
        return await self._turns(query.offset(after).limit(limit))

    async def recent(self, scope: Scope, conversation_id: str) -> Sequence[Turn]:
        return (await self._turns(_LATEST, whose=scope.user, conversation=conversation_id))[::-1]

    async def version(self, scope: Scope, conversation_id: str) -> int | None:
        """Grows with every change of what was said. None where there is no such conversation."""
        given = {"whose": scope.user, "conversation": conversation_id}
        return await self._database.look(lambda c: c.execute(_VERSION, given).scalar_one_or_none())

    async def summary(self, scope: Scope, conversation_id: str) -> str:
        given = {"whose": scope.user, "conversation": conversation_id}
        return await self._database.look(lambda c: c.execute(_SUMMARY, given).scalar_one_or_none()) or ""

    async def get(self, scope: Scope, conversation_id: str) -> Conversation:
        query = select(*_HEAD).where(_mine(scope, conversation_id))
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        if row is None:
            raise _no_conversation(conversation_id)
        return Conversation(**row)

    async def list(
        self, scope: Scope, *, before: str = "", limit: int = 50, holding: str = "", also: Sequence[str] = ()
    ) -> Sequence[Conversation]:
        """`also`: conversations that hold what is looked for, found elsewhere."""
        table = conversations.c
        query = select(*_HEAD).where(table.owner == scope.user)
        if holding:
            query = query.where(or_(_holds(plain(holding)), table.id.in_(also)))
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

    async def holds(self, scope: Scope, turn_id: str) -> bool:
        """Whether the user has this turn; cheaper than reading it."""
        given = {"turn": turn_id, "whose": scope.user}
        return await self._database.look(lambda c: c.execute(_HELD, given).first() is not None)

    async def turns(self, scope: Scope, ids: Sequence[str]) -> Mapping[str, Turn]:
        """Those of these that are the user's, by id."""
        found = await self._turns(_turn_query(scope).where(turns.c.id.in_(ids)))
        return {turn.id: turn for turn in found}

    async def said(self, scope: Scope, ids: Sequence[str]) -> Mapping[str, tuple[str, str]]:
        """Question and answer of those of these turns that are the user's, by id; cheaper than the whole turns."""
        given = {"whose": scope.user, "turns": list(ids)}
        rows = await self._database.look(lambda c: c.execute(_WORDS, given).all())
        found = {row.id: (row.question, row.answer) for row in rows if not row.archive}
        bodies = await self._bodies({row.archive for row in rows if row.archive})
        archived = (bodies[row.id] for row in rows if row.archive and row.id in bodies)
        return found | {turn.id: (turn.question, turn.answer) for turn in archived}

    async def places(self, scope: Scope, ids: Sequence[str]) -> Sequence[str]:
        """Conversations that these turns of the user stand in."""
        query = (
            select(turns.c.conversation_id)
            .distinct()
            .join(conversations, conversations.c.id == turns.c.conversation_id)
            .where(conversations.c.owner == scope.user, turns.c.id.in_(ids))
        )
        async with self._database.read() as connection:
            return list((await connection.execute(query)).scalars())

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

    async def delete(self, scope: Scope, conversation_id: str) -> Receipt:
        """Archived bodies are doomed in the same transaction; `Archive.sweep` removes their files."""
        of_it = select(turns.c.id).where(turns.c.conversation_id == conversation_id)
        async with self._database.write() as connection:
            if not (await connection.execute(_held(scope, conversation_id))).rowcount:
                raise _no_conversation(conversation_id)
            told = await column(connection, of_it)
            further = {"facts": await remove_episodes(connection, told)}
            further |= {one.name: await one.forget(connection, scope, conversation_id) for one in self.forgetting}
            doomed = await connection.execute(
                update(archives).where(archives.c.conversation_id == conversation_id).values(state="doomed")
            )
            await connection.execute(delete(conversations).where(_mine(scope, conversation_id)))
        return Receipt(conversation_id, len(told), doomed.rowcount, further)

    async def feedback(self, scope: Scope, turn_id: str, feedback: Mapping[str, Any] | None) -> None:
        mine = select(conversations.c.id).where(conversations.c.owner == scope.user)
        change = update(turns).where(turns.c.id == turn_id, turns.c.conversation_id.in_(mine))
        spoken = select(turns.c.conversation_id).where(turns.c.id == turn_id).scalar_subquery()
        newer = update(conversations).where(conversations.c.id == spoken)
        async with self._database.write() as connection:
            if not (await connection.execute(change.values(feedback=safe(feedback)))).rowcount:
                raise _no_turn(turn_id)
            await connection.execute(newer.values(version=conversations.c.version + 1))

    async def take_in(self, scope: Scope, conversation: Conversation, told: Sequence[Turn]) -> int:
        """Add turns that were exported, under their ids, title and times; those that are there stay as they are.

        How many were added. Raises NotFound where the id is another user's.
        """
        values = {"id": conversation.id, "owner": scope.user, "title": title_of(conversation.title) or "..."}
        times = {"created_at": conversation.created_at, "updated_at": conversation.updated_at}

        def taken(connection: Connection) -> int:
            dialect = connection.dialect.name
            new = insert_missing(conversations, dialect).values(**values, **times, version=0, summary="", summed=0)
            connection.execute(new)
            if not connection.execute(_held(scope, conversation.id, max(1, len(told)))).rowcount:
                raise _no_conversation(conversation.id)
            known = set(connection.execute(select(turns.c.id).where(_one_of(told))).scalars())
            fresh = [turn for turn in told if turn.id not in known]
            for turn in fresh:
                self._add(connection, turn)
                draws(connection, scope.user, conversation.id, cited(turn))
                row = {"turn_id": turn.id, "owner": scope.user}
                connection.execute(insert_missing(unindexed, dialect), row)
            return len(fresh)

        return await self._database.transact(taken)

    async def interrupt_running(self, *, begun_before: datetime | None = None) -> int:
        """Mark turns that nobody works on any more; returns how many.

        Called at start-up. Where other processes share the store, `begun_before` spares what they may be working on;
        one marked too early is put right when it is finished.
        """
        moment = begun_before or self._clock() + timedelta(days=1)
        change = update(turns).where(turns.c.state == "running", turns.c.created_at < moment)
        async with self._database.write() as connection:
            return (await connection.execute(change.values(state="interrupted"))).rowcount

    def _enter(self, connection: Connection, scope: Scope, turn: Turn, more: int = 0) -> int:
        """Make the conversation or touch it, and hold its row, so that its turns are numbered one at a time.

        Its version, `more` than before.
        """
        now = self._clock()
        given = {"whose": scope.user, "conversation": turn.conversation_id, "now": now, "more": more}
        version = connection.execute(_TOUCH, given).scalar_one_or_none()
        if version is not None:
            return version
        new = {"id": turn.conversation_id, "owner": scope.user, "title": title_of(turn.question) or "..."}
        rest = {"created_at": now, "updated_at": now, "version": more, "summary": "", "summed": 0}
        if connection.execute(insert_missing(conversations, connection.dialect.name), new | rest).rowcount == 1:
            return more
        version = connection.execute(_TOUCH, given).scalar_one_or_none()
        if version is None:
            raise _no_conversation(turn.conversation_id)
        return version

    def _add(self, connection: Connection, turn: Turn) -> tuple[Any, datetime]:
        """A turn that is not there yet; its feedback and when it was asked."""
        last = connection.execute(_LAST, {"conversation": turn.conversation_id})
        kept = {"feedback": safe(turn.feedback), "created_at": turn.created_at or self._clock()}
        row = {
            "id": turn.id,
            "conversation_id": turn.conversation_id,
            "ordinal": int(last.scalar_one()) + 1,
            "state": turn.state,
            "question": plain(turn.question),
            "answer": plain(turn.answer),
            "record": record_of(turn),
            **kept,
        }
        connection.execute(_NEW, row)
        if states(turn.question):  # nothing is learnt from a mere question
            put(connection, TURNS_TOPIC, [{"turn": turn.id}])
        return kept["feedback"], kept["created_at"]

    async def _turns(self, query: Any, **given: Any) -> list[Turn]:
        rows = await self._database.look(lambda c: c.execute(query, given).mappings().all())
        bodies = await self._bodies({row["archive"] for row in rows if row["archive"]})
        found = [_turn(row, bodies) for row in rows]
        return [turn for turn in found if turn is not None]

    async def _bodies(self, digests: set[str]) -> Mapping[str, Turn]:
        if not digests or self._archive is None:
            return {}
        return await self._archive.bodies(digests)


# What every question asks, made once.
_HERE = and_(conversations.c.id == bindparam("conversation"), conversations.c.owner == bindparam("whose"))
_VERSION = select(conversations.c.version).where(_HERE)
_SUMMARY = select(conversations.c.summary).where(_HERE)
_NEW = turns.insert()
_FINISH = (
    update(turns)
    .where(turns.c.id == bindparam("turn"), turns.c.conversation_id == bindparam("conversation"))
    .values(
        state=bindparam("reached"),
        archive=None,
        question=bindparam("said_question"),
        answer=bindparam("said_answer"),
        record=bindparam("said_record"),
    )
    .returning(turns.c.feedback, turns.c.created_at)
)
_TOUCH = (
    update(conversations)
    .where(_HERE)
    .values(updated_at=bindparam("now"), version=conversations.c.version + bindparam("more"))
    .returning(conversations.c.version)
)
_HELD = (
    select(turns.c.id)
    .join(conversations, conversations.c.id == turns.c.conversation_id)
    .where(turns.c.id == bindparam("turn"), conversations.c.owner == bindparam("whose"))
)
_WORDS = (
    select(turns.c.id, turns.c.question, turns.c.answer, turns.c.archive)
    .join(conversations, conversations.c.id == turns.c.conversation_id)
    .where(turns.c.id.in_(bindparam("turns", expanding=True)), conversations.c.owner == bindparam("whose"))
)
_LAST = select(func.coalesce(func.max(turns.c.ordinal), 0)).where(turns.c.conversation_id == bindparam("conversation"))
_LATEST = (
    select(turns)
    .join(conversations, conversations.c.id == turns.c.conversation_id)
    .where(_HERE, turns.c.state.in_(SAID))
    .order_by(turns.c.ordinal.desc())
    .limit(RECENT)
)
_HEAD = tuple(conversations.c[name] for name in ("id", "owner", "title", "created_at", "updated_at"))


def _mine(scope: Scope, conversation_id: str) -> Any:
    return and_(conversations.c.id == conversation_id, conversations.c.owner == scope.user)


def _held(scope: Scope, conversation_id: str, more: int = 1) -> Any:
    """Holds the row until the transaction ends. `more`: turns that are added, at least one."""
    return update(conversations).where(_mine(scope, conversation_id)).values(version=conversations.c.version + more)


def _one_of(told: Sequence[Turn]) -> Any:
    return turns.c.id.in_([turn.id for turn in told])


def _holds(words: str) -> Any:
    said = or_(*(column.icontains(words, autoescape=True) for column in (turns.c.question, turns.c.answer)))
    titled = conversations.c.title.icontains(words, autoescape=True)
    return or_(titled, select(turns.c.id).where(turns.c.conversation_id == conversations.c.id, said).exists())


def _turn_query(scope: Scope) -> Any:
    owned = conversations.c.owner == scope.user
    return select(turns).join(conversations, conversations.c.id == turns.c.conversation_id).where(owned)


def _turn(row: RowMapping, bodies: Mapping[str, Turn]) -> Turn | None:
    """None for a turn whose conversation was erased, with its archive, after its row was read."""
    if not row["archive"]:
        return turn_of({key: row[key] for key in COLUMNS}, row["record"])
    body = bodies.get(row["id"])
    return body and replace(body, state=row["state"], feedback=row["feedback"], created_at=row["created_at"])


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
