"""Facts from conversations, drawn in the background from what the user said.

The queue is the outbox: a turn is announced in the transaction that commits its question, and this target remembers
how far it has come. All ids follow from what was said, so a turn that is read again after a crash adds nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, and_, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database import Database
from aegis.database.outbox import Outbox, OutboxRow
from aegis.scope import derived_id, group_id
from memory.conversations.tables import TURNS_TOPIC, conversations, turns
from memory.facts.history import BY_RULE, packed, record
from memory.facts.rows import insert_new, tell_graph
from memory.facts.tables import NAME_LENGTH, entities, episodes, evidence, facts, groups, mentions
from memory.facts.writing import refused_of
from memory.naming import key
from memory.statements import Statement, single, statements

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Said:
    """A question as it was asked, and by whom."""

    turn_id: str
    conversation_id: str
    user: str
    text: str
    at: datetime


class Learner:
    """`retrieval.projection.Target`: reads turns, writes facts."""

    name = "learning"
    topics = (TURNS_TOPIC,)

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox

    async def apply(self, rows: Sequence[OutboxRow]) -> None:
        for row in rows:
            said = await self._said(row.payload["turn"])
            if said is None:
                continue  # deleted meanwhile
            found = await asyncio.to_thread(statements, said.text, said.at)
            if found:
                await self._learn(said, found)

    async def _learn(self, said: Said, found: Sequence[Statement]) -> None:
        async with self._database.write() as connection:
            still = select(turns.c.id).where(turns.c.id == said.turn_id)
            if (await connection.execute(still)).first() is not None:
                await learn(connection, said, found)
        self._outbox.wake()

    async def _said(self, turn_id: str) -> Said | None:
        row = await self._database.look(lambda c: c.execute(_SAID, {"turn": turn_id}).first())
        return None if row is None else Said(turn_id, *row)


_SAID = (
    select(turns.c.conversation_id, conversations.c.owner, turns.c.question, turns.c.created_at)
    .join(conversations, conversations.c.id == turns.c.conversation_id)
    .where(turns.c.id == bindparam("turn"))
)


async def learn(connection: AsyncConnection, said: Said, found: Sequence[Statement]) -> list[str]:
    """Write what was stated, in the caller's transaction; ids of the facts that are new or have new evidence.

    A turn is learnt whole, so one whose episode is there was read before a crash, and adds nothing.
    """
    read = select(episodes.c.id).where(episodes.c.id == said.turn_id)
    if (await connection.execute(read)).first() is not None:
        return []
    group = group_id("u", said.user)
    await insert_new(connection, groups, [{"id": group, "kind": "u", "name": said.user}])
    writing = _Writing(connection, said, group, await refused_of(connection, group))
    touched = [fact for statement in found if (fact := await writing.add(statement))]
    if touched:
        await tell_graph(connection, entities=dict.fromkeys(writing.named), facts=dict.fromkeys(touched))
    return touched


class _Writing:
    """One turn's statements, written one after the other."""

    def __init__(self, connection: AsyncConnection, said: Said, group: str, unwanted: set[str]) -> None:
        self.named: list[str] = []
        self._connection = connection
        self._said = said
        self._unwanted = unwanted
        self._common = {"group_id": group, "collection": ""}
        self._group = group

    async def add(self, statement: Statement) -> str | None:
        """The fact's id; None where nobody may learn it."""
        source, target = self._entity(statement.relation.subject), self._entity(statement.relation.object)
        known = await self._known(source, statement.relation.name)
        same = next((row for row in known if _current(row) and _same(row, target, statement.relation.object)), None)
        identifier = same["id"] if same else self._id(source, target, statement, known)
        if identifier in self._unwanted:
            return None
        await self._episode()
        await self._name(statement.relation.subject, source)
        if same is None:
            await self._name(statement.relation.object, target)
            await insert_new(self._connection, facts, [self._row(identifier, source, target, statement)])
        await insert_new(self._connection, evidence, [self._proof(identifier, same, statement)])
        if same is None and single(statement.relation.name):
            await self._settle(identifier, statement, known)
        return identifier

    async def _settle(self, identifier: str, new: Statement, known: Sequence[RowMapping]) -> None:
        """The guard: same subject, same relation, one object at a time, another object. What was said last holds."""
        if new.invalid_at is not None and new.invalid_at <= self._said.at:
            return  # it tells of the past
        others = [row for row in known if row["id"] != identifier and not _same(row, "", new.relation.object)]
        for row in others:
            if await self._proven_here(row["id"]):
                continue  # said in one breath: both are meant
            if _current(row) and row["created_at"] <= self._said.at:
                await self._supersede(row, identifier, self._said.at, new.valid_at, new.quote)
            elif row["created_at"] > self._said.at and row["invalid_at"] is None:
                mine = select(facts).where(facts.c.id == identifier)
                this = (await self._connection.execute(mine)).mappings().one()
                await self._supersede(this, row["id"], row["created_at"], row["valid_at"], row["text"])
                break

    async def _supersede(
        self, old: RowMapping, new_id: str, learnt: datetime, since: datetime | None, quote: str
    ) -> None:
        start = old["valid_at"]
        end = since if since is not None and (start is None or since > start) else learnt
        if start is not None and end <= start:
            end = learnt
        kept = await record(
            self._connection,
            self._group,
            old["id"],
            "superseded",
            reason=f"“{quote}” was said later: the same subject and relation, another object.",
            by=BY_RULE,
            at=learnt,
            other_id=new_id,
            before=packed({"invalid_at": old["invalid_at"], "expired_at": old["expired_at"]}),
        )
        if kept:
            change = update(facts).where(facts.c.id == old["id"]).values(invalid_at=end, expired_at=learnt)
            await self._connection.execute(change)
            await tell_graph(self._connection, facts=[old["id"]])

    async def _known(self, source: str, relation: str) -> Sequence[RowMapping]:
        """Facts of this subject and relation, with the key of their object, in order of when they were learnt."""
        query = (
            select(facts, entities.c.key)
            .join(entities, entities.c.id == facts.c.target_id)
            .where(facts.c.source_id == source, facts.c.group_id == self._group, facts.c.relation == relation)
            .order_by(facts.c.created_at, facts.c.id)
        )
        return (await self._connection.execute(query)).mappings().all()

    async def _proven_here(self, fact_id: str) -> bool:
        here = and_(evidence.c.fact_id == fact_id, evidence.c.episode_id == self._said.turn_id)
        return (await self._connection.execute(select(evidence.c.fact_id).where(here))).first() is not None

    def _entity(self, name: str) -> str:
        return derived_id("entity", self._group, key(name))

    def _id(self, source: str, target: str, new: Statement, known: Sequence[RowMapping]) -> str:
        """What was true before and is again is another fact: its time is another."""
        identifier = derived_id("fact", self._group, source, new.relation.name, target, key(new.quote))
        again = any(row["id"] == identifier and not _current(row) for row in known)
        return derived_id("fact", identifier, self._said.turn_id) if again else identifier

    async def _name(self, name: str, identifier: str) -> None:
        said = self._said
        row: dict[str, Any] = {"id": identifier, "name": name[:NAME_LENGTH], "key": key(name), "summary": ""}
        row |= {"labels": ["Entity"], "attributes": {}, "created_at": said.at}
        await insert_new(self._connection, entities, [{**self._common, **row}])
        mention = {"episode_id": said.turn_id, "entity_id": identifier, "created_at": said.at}
        await insert_new(self._connection, mentions, [{**self._common, **mention}])
        self.named.append(identifier)

    async def _episode(self) -> None:
        said = self._said
        row = {"id": said.turn_id, "version_id": None, "name": said.conversation_id, "source": "message"}
        row |= {"description": "turn", "content": said.text, "valid_at": said.at, "created_at": said.at}
        await insert_new(self._connection, episodes, [{**self._common, **row}])

    def _row(self, identifier: str, source: str, target: str, new: Statement) -> dict[str, Any]:
        row = {"id": identifier, "source_id": source, "target_id": target, "relation": new.relation.name}
        row |= {"text": " ".join(new.quote.split()), "attributes": {}, "created_at": self._said.at}
        row |= {"valid_at": new.valid_at, "invalid_at": new.invalid_at, "expired_at": None}
        return {**self._common, **row, "reference_time": self._said.at}

    def _proof(self, identifier: str, same: RowMapping | None, new: Statement) -> dict[str, Any]:
        text = same["text"] if same else " ".join(new.quote.split())
        return {
            **self._common,
            "fact_id": identifier,
            "episode_id": self._said.turn_id,
            "start": new.start,
            "end": new.end,
            "version_id": None,
            "quote": None if new.quote == text else new.quote,
        }


def _current(row: RowMapping) -> bool:
    return row["expired_at"] is None


def _same(row: RowMapping, target: str, name: str) -> bool:
    """The same object, or one named more or less exactly ("Acme", "Acme Corp"): no change of it."""
    if row["target_id"] == target:
        return True
    old, new = set(row["key"].split()), set(key(name).split())
    return bool(old and new) and (old <= new or new <= old)
