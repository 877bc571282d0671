"""Entities that are one under two names or spellings, found by rules that must not err.

Within a group: the same name twice (a model's entities have ids of their own), one name in two spellings ("Open AI",
"OpenAI"; "Acme Corp.", "Acme Corporation"), and a name that a document gives as the other name of exactly one entity.
Names that only resemble each other ("Acme", "Acme Corp") are left alone; so are code, dates, and names with numbers.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from memory.facts.history import BY_RULE, record
from memory.facts.merging import merge
from memory.facts.tables import aliases, changes, entities, merged

LEAST = 6  # letters of a name whose spelling may differ
_UNLIKE = frozenset(("Code", "Date"))
_LEGAL = {
    "corporation": "corp",
    "incorporated": "inc",
    "limited": "ltd",
    "company": "co",
    "and": "",
    "aktiengesellschaft": "ag",
}


@dataclass(frozen=True, slots=True)
class Named:
    id: str
    name: str
    key: str
    labels: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Same:
    """`entity` is `into` under another name."""

    entity: Named
    into: Named
    reason: str


async def merge_duplicates(connection: AsyncConnection, group: str, at: datetime) -> int:
    """Merge what is found in this group, each with a change that can be undone; how many.

    What a person has undone is not merged again.
    """
    known = await _known(connection, group)
    other_names = await _other_names(connection, group)
    found = await asyncio.to_thread(lambda: [*spelt_alike(known.values()), *_called(known, other_names)])
    roots = {
        row[0]: row[1]
        for row in await connection.execute(
            select(merged.c.entity_id, merged.c.into_id).where(merged.c.group_id == group)
        )
    }
    undone = await _undone(connection, group)
    count = 0
    for same in found:
        entity, into = roots.get(same.entity.id, same.entity.id), roots.get(same.into.id, same.into.id)
        if entity == into or {(entity, into), (into, entity)} & undone:
            continue
        await merge(connection, group, entity, into, at)
        roots = {each: into if root == entity else root for each, root in roots.items()} | {entity: into}
        reason = f"“{known[entity].name}” is “{known[into].name}”: {same.reason}"
        await record(connection, group, entity, "merged", reason=reason, by=BY_RULE, at=at, other_id=into)
        count += 1
    return count


def spelt_alike(known: Iterable[Named]) -> list[Same]:
    """The same name twice, and one name in two spellings; into the one that was there first."""
    together: dict[str, list[Named]] = defaultdict(list)
    for one in known:
        if form := _form(one):
            together[form].append(one)
    return [
        Same(other, ordered[0], "the same name" if other.key == ordered[0].key else "another spelling of the name")
        for several in together.values()
        if len(ordered := sorted(several, key=lambda one: (one.created_at, one.id))) > 1
        for other in ordered[1:]
    ]


def _form(one: Named) -> str:
    """What all spellings of a name share; the name itself where it has no other spelling."""
    words = [_LEGAL.get(word, word) for word in one.key.replace("-", " ").replace("'", "").split()]
    joined = "".join(words)
    if _UNLIKE.intersection(one.labels) or len(joined) < LEAST or not joined.isalpha():
        return f"={one.key}" if not _UNLIKE.intersection(one.labels) else ""
    return joined


def _called(known: Mapping[str, Named], other_names: Sequence[tuple[str, str]]) -> list[Same]:
    return [
        Same(known[entity], known[owner], "a document gives it as the other name")
        for owner, entity in other_names
        if owner in known and entity in known and not _UNLIKE.intersection(known[entity].labels)
    ]


async def _known(connection: AsyncConnection, group: str) -> dict[str, Named]:
    query = select(entities.c.id, entities.c.name, entities.c.key, entities.c.labels, entities.c.created_at)
    rows = await connection.execute(query.where(entities.c.group_id == group))
    return {row[0]: Named(row[0], row[1], row[2], tuple(row[3]), row[4]) for row in rows}


async def _other_names(connection: AsyncConnection, group: str) -> list[tuple[str, str]]:
    """(owner, entity): the entity's name is the other name of this owner, and of no other."""
    one_owner = (
        select(aliases.c.key, func.min(aliases.c.entity_id).label("owner"))
        .where(aliases.c.group_id == group)
        .group_by(aliases.c.key)
        .having(func.count(aliases.c.entity_id.distinct()) == 1)
        .subquery()
    )
    query = (
        select(one_owner.c.owner, entities.c.id)
        .join(entities, (entities.c.key == one_owner.c.key) & (entities.c.group_id == group))
        .where(entities.c.id != one_owner.c.owner)
        .order_by(one_owner.c.owner, entities.c.id)
    )
    return [(row[0], row[1]) for row in await connection.execute(query)]


async def _undone(connection: AsyncConnection, group: str) -> set[tuple[str, str]]:
    query = select(changes.c.fact_id, changes.c.other_id).where(
        changes.c.group_id == group, changes.c.kind == "merged", changes.c.undone_at.is_not(None)
    )
    return {(row[0], row[1]) for row in await connection.execute(query)}
