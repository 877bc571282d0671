"""What is known of an entity, in one bounded text: the sentences of its facts that say most, chosen by rules.

Which facts those are is chosen at night (`renew`) and kept; what they say is read when it is asked for, so that a
summary says nothing that is not seen, or not true any more. Where a model has put it in fewer words, these are told
while every fact that they were made of is (`descriptions.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, func, or_, select, union_all
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database import Database
from aegis.scope import Scope
from memory.facts import Fact
from memory.facts.loading import load_facts
from memory.facts.merging import all_of, read_as
from memory.facts.tables import descriptions, entities, facts, summaries
from memory.facts.visibility import Epoch, Time, groups_of, stated

LONGEST = 600  # characters
MOST = 8  # facts of a summary
LOOKED_AT = 60  # newest facts among which they are chosen
_VAGUE = ("MENTIONED_WITH", "RELATES_TO")  # the sentence states no relation


class Summaries:
    def __init__(self, database: Database, epoch: Epoch) -> None:
        self._database = database
        self._epoch = epoch

    async def of(self, scope: Scope, entity_ids: Sequence[str]) -> dict[str, str]:
        """By entity; those of which less than two facts are known have none."""
        at = await self._epoch.epoch()
        made = and_(descriptions.c.entity_id == summaries.c.entity_id, descriptions.c.text != "")
        query = (
            select(summaries.c.entity_id, summaries.c.fact_ids, descriptions.c.fact_ids, descriptions.c.text)
            .outerjoin(descriptions, made)
            .where(summaries.c.entity_id.in_(list(entity_ids)), summaries.c.group_id.in_(groups_of(scope)))
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
            chosen = {row[0]: list(row[1]) for row in rows}
            ids = [each for listed in chosen.values() for each in listed]
            holding = and_(facts.c.id.in_(ids), Time(at, None, None).condition())
            known = {fact.id: fact for fact in await load_facts(connection, groups_of(scope), at, holding)}
        told = {entity: text([known[each] for each in listed if each in known]) for entity, listed in chosen.items()}
        shorter = (row for row in rows if row[3] and row[1] == row[2] and set(row[1]) <= set(known))
        told |= {entity: words for entity, _, _, words in shorter}
        return {entity: words for entity, words in told.items() if words}


def text(known: Sequence[Fact]) -> str:
    """Their sentences, as many as fit."""
    told, length = list[str](), 0
    for fact in known:
        if length + len(fact.text) + 1 <= LONGEST and fact.text not in told:
            told.append(fact.text)
            length += len(fact.text) + 1
    return " ".join(told)


async def renew(connection: AsyncConnection, ids: Sequence[str], epoch: int, at: datetime) -> int:
    """Choose anew what is told of these entities; for how many that has changed."""
    whose = select(entities.c.id, entities.c.group_id).where(entities.c.id.in_(ids))
    groups = {row[0]: row[1] for row in await connection.execute(whose)}
    others = await read_as(connection, ids)
    before = await _kept(connection, ids)
    wanted: dict[str, list[str]] = {}
    for entity in await _of_several(connection, [each for each in ids if each not in others]):
        chosen = await _chosen(connection, groups[entity], entity, epoch, at)
        if len(chosen) > 1:
            wanted[entity] = chosen
    rows = [
        {"entity_id": entity, "group_id": groups[entity], "fact_ids": chosen, "at": at}
        for entity, chosen in wanted.items()
        if before.get(entity) != chosen
    ]
    gone = [entity for entity in before if entity not in wanted]
    if rows:
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        statement = insert(summaries)
        again = {name: statement.excluded[name] for name in ("fact_ids", "at")}
        await connection.execute(statement.on_conflict_do_update(index_elements=["entity_id"], set_=again), rows)
    if gone:
        await connection.execute(delete(summaries).where(summaries.c.entity_id.in_(gone)))
    return len(rows)


async def _kept(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, list[str]]:
    query = select(summaries.c.entity_id, summaries.c.fact_ids).where(summaries.c.entity_id.in_(ids))
    return {row[0]: list(row[1]) for row in await connection.execute(query)}


async def _of_several(connection: AsyncConnection, ids: Sequence[str]) -> list[str]:
    """Those of which more than one fact may be told: themselves, or with what is read as them."""
    ends = union_all(
        *(select(facts.c[end].label("entity")).where(facts.c[end].in_(ids)) for end in ("source_id", "target_id"))
    ).subquery()
    query = select(ends.c.entity).group_by(ends.c.entity).having(func.count() > 1)
    several = set((await connection.execute(query)).scalars())
    return [each for each in ids if each in several or len(await all_of(connection, [each])) > 1]


async def _chosen(connection: AsyncConnection, group: str, entity: str, epoch: int, at: datetime) -> list[str]:
    """Ids of the facts to tell, the most telling first."""
    same = await all_of(connection, [entity])
    holding: Any = and_(
        facts.c.group_id == group,
        or_(facts.c.source_id.in_(same), facts.c.target_id.in_(same)),
        facts.c.expired_at.is_(None),
        or_(facts.c.invalid_at.is_(None), facts.c.invalid_at > at),
        stated(epoch),
    )
    columns = ("id", "source_id", "relation", "text", "attributes", "created_at")
    query = select(*(facts.c[name] for name in columns)).where(holding)
    query = query.order_by(facts.c.created_at.desc(), facts.c.id).limit(LOOKED_AT)
    rows = (await connection.execute(query)).mappings().all()

    def telling(row: Any) -> tuple[bool, bool, bool]:
        """What a person confirmed, then what is stated of it as subject, before what it is only mentioned in."""
        return "confirmed" not in row["attributes"], row["relation"] in _VAGUE, row["source_id"] not in same

    chosen: dict[str, str] = {}
    for row in sorted(rows, key=telling):
        chosen.setdefault(row["text"], row["id"])
    return list(chosen.values())[:MOST]
