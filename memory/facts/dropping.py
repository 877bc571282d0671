"""What nothing proves any more goes out of the graph memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, and_, delete, exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from memory.facts import merging
from memory.facts.rows import batches, column, tell_graph
from memory.facts.tables import aliases, described_by, descriptions, entities, evidence, facts, mentions


async def drop_unsupported(
    connection: AsyncConnection, fact_ids: Sequence[str], entity_ids: Sequence[str]
) -> list[str]:
    """Of these, delete the facts without evidence (their ids are returned), then the entities without mention and
    fact; tell the graph."""
    gone = await _delete_where(connection, facts, fact_ids, ~exists(select(1).where(evidence.c.fact_id == facts.c.id)))
    unused = and_(
        ~exists(select(1).where(mentions.c.entity_id == entities.c.id)),
        ~exists(select(1).where(facts.c.source_id == entities.c.id)),
        ~exists(select(1).where(facts.c.target_id == entities.c.id)),
    )
    await forget_descriptions(connection, gone)
    forgotten = await _delete_where(connection, entities, entity_ids, unused)
    await merging.forget(connection, forgotten)
    for part in batches(forgotten):
        await connection.execute(delete(aliases).where(aliases.c.entity_id.in_(part)))
    await tell_graph(connection, gone_facts=gone, gone_entities=forgotten)
    return gone


async def forget_descriptions(connection: AsyncConnection, fact_ids: Sequence[str]) -> None:
    """What a model made of facts goes with the first of them."""
    for part in batches(fact_ids):
        query = select(described_by.c.entity_id).where(described_by.c.fact_id.in_(part)).distinct()
        made = await column(connection, query)
        if made:
            await connection.execute(delete(descriptions).where(descriptions.c.entity_id.in_(made)))
            await connection.execute(delete(described_by).where(described_by.c.entity_id.in_(made)))


async def _delete_where(connection: AsyncConnection, table: Table, ids: Sequence[str], condition: Any) -> list[str]:
    """Delete those of these rows that meet the condition; their ids."""
    gone: list[str] = []
    for part in batches(ids):
        found = await column(connection, select(table.c.id).where(table.c.id.in_(part), condition))
        await connection.execute(delete(table).where(table.c.id.in_(found)))
        gone += found
    return gone
