"""Entities that are one: which are read as another, and who else is meant by one of them.

Merging touches no row of either: facts and mentions stay with the entity that their words named, and a row here says
that it is read as another. So deleting a source takes exactly what it brought, and undoing is deleting that row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from sqlalchemy import and_, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from memory.facts.rows import batches, column, insert_new, tell_graph
from memory.facts.tables import changes, entities, facts, merged, summaries
from memory.facts.visibility import mentioned


async def read_as(connection: AsyncConnection, ids: Iterable[str], epoch: int | None = None) -> dict[str, str]:
    """Those of these that are read as another, and as which; with an epoch only where that one is seen then."""
    found: dict[str, str] = {}
    for part in batches(ids):
        query = select(merged.c.entity_id, merged.c.into_id).where(merged.c.entity_id.in_(part))
        if epoch is not None:
            query = query.join(entities, and_(entities.c.id == merged.c.into_id, mentioned(epoch)))
        found |= {row[0]: row[1] for row in await connection.execute(query)}
    return found


async def all_of(connection: AsyncConnection, ids: Collection[str]) -> set[str]:
    """These, and every entity that is one with one of them."""
    found = set(ids)
    for part in batches(sorted(ids)):
        near = or_(merged.c.entity_id.in_(part), merged.c.into_id.in_(part))
        roots = await column(connection, select(merged.c.into_id).where(near).distinct())
        if roots:
            found |= {*roots, *await column(connection, select(merged.c.entity_id).where(merged.c.into_id.in_(roots)))}
    return found


async def merge(connection: AsyncConnection, group: str, entity: str, into: str, at: datetime) -> None:
    """From now on `entity`, and whatever was read as it, is read as `into`."""
    moved = await column(connection, select(merged.c.entity_id).where(merged.c.into_id == entity))
    await insert_new(connection, merged, [{"entity_id": entity, "into_id": into, "group_id": group, "at": at}])
    await connection.execute(update(merged).where(merged.c.into_id == entity).values(into_id=into))
    await connection.execute(delete(summaries).where(summaries.c.entity_id.in_([entity, into])))
    await _tell(connection, [entity, into, *moved])


async def separate(connection: AsyncConnection, entity: str) -> None:
    """Read as itself again."""
    into = await column(connection, select(merged.c.into_id).where(merged.c.entity_id == entity))
    await connection.execute(delete(merged).where(merged.c.entity_id == entity))
    await connection.execute(delete(summaries).where(summaries.c.entity_id.in_([entity, *into])))
    await _tell(connection, [entity, *into])


async def forget(connection: AsyncConnection, gone: Sequence[str]) -> None:
    """Entities that were deleted: nobody is read as one of them any more, and no change names them."""
    for part in batches(gone):
        either = or_(merged.c.entity_id.in_(part), merged.c.into_id.in_(part))
        left = await column(connection, select(merged.c.entity_id).where(either))
        if left:
            await connection.execute(delete(merged).where(either))
            named = or_(changes.c.fact_id.in_(part), changes.c.other_id.in_(part))
            await connection.execute(delete(changes).where(changes.c.kind == "merged", named))
            await _tell(connection, sorted(set(left) - set(part)))
        await connection.execute(delete(summaries).where(summaries.c.entity_id.in_(part)))


async def _tell(connection: AsyncConnection, ids: Sequence[str]) -> None:
    """The graph database draws facts between those that are read; so do these entities' facts change there."""
    for part in batches(ids):
        ends = or_(facts.c.source_id.in_(part), facts.c.target_id.in_(part))
        drawn = await column(connection, select(facts.c.id).where(ends))
        await tell_graph(connection, moved_facts=drawn)
        await tell_graph(connection, entities=part, facts=drawn)
