"""Facts and entities read from their tables, with the evidence that is seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, func, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.scope import Span
from memory.facts import Entity, Evidence, Fact
from memory.facts.merging import all_of, read_as
from memory.facts.rows import batches
from memory.facts.tables import aliases, entities, episodes, evidence, facts
from memory.facts.visibility import mentioned, shown, stated
from retrieval.tables import versions

MAX_KEYS = 400  # names looked up at a time
MAX_NAMED = 200  # entities of one question


async def load_facts(
    connection: AsyncConnection,
    group_ids: Sequence[str],
    epoch: int,
    condition: Any,
    *,
    limit: int | None = None,
    as_of: datetime | None = None,
) -> list[Fact]:
    """Visible facts that meet the condition, in order of id, with the evidence that is visible."""
    seen = stated(epoch, as_of)
    mine = func.coalesce(facts.c.group_id, "").in_(group_ids)  # or SQLite reads the whole group by its index
    query = select(facts).where(mine, condition, seen).order_by(facts.c.id)
    rows = list((await connection.execute(query.limit(limit))).mappings())
    ends = await load_entities(connection, {row[end] for row in rows for end in ("source_id", "target_id")}, epoch)
    proofs = await _evidence(connection, [row["id"] for row in rows], epoch)
    return [
        _fact(row, ends, proofs[row["id"]]) for row in rows if row["source_id"] in ends and row["target_id"] in ends
    ]


async def load_entities(connection: AsyncConnection, ids: Iterable[str], epoch: int) -> dict[str, Entity]:
    """By the ids asked for; one that is read as another is that other, where it is seen."""
    wanted = sorted(ids)
    others = await read_as(connection, wanted, epoch)
    found: dict[str, Entity] = {}
    for part in batches(sorted({*wanted, *others.values()})):
        query = select(entities.c.id, entities.c.name, entities.c.labels).where(entities.c.id.in_(part))
        found |= {row[0]: Entity(row[0], row[1], tuple(row[2])) for row in await connection.execute(query)}
    return {each: found[shown] for each in wanted if (shown := others.get(each, each)) in found}


async def _evidence(connection: AsyncConnection, ids: Sequence[str], epoch: int) -> dict[str, list[RowMapping]]:
    found: dict[str, list[RowMapping]] = {identifier: [] for identifier in ids}
    for part in batches(ids):
        query = (
            select(evidence, versions.c.document_id, versions.c.dated, episodes.c.name, episodes.c.valid_at)
            .select_from(
                evidence.outerjoin(versions, versions.c.id == evidence.c.version_id).outerjoin(
                    episodes, episodes.c.id == evidence.c.episode_id
                )
            )
            .where(evidence.c.fact_id.in_(part), shown(epoch))
            .order_by(evidence.c.fact_id, evidence.c.episode_id, evidence.c.start)
        )
        for row in (await connection.execute(query)).mappings():
            found[row["fact_id"]].append(row)
    return found


def _fact(row: RowMapping, ends: dict[str, Entity], proofs: Sequence[RowMapping]) -> Fact:
    return Fact(
        id=row["id"],
        text=row["text"],
        relation=row["relation"],
        source=ends[row["source_id"]],
        target=ends[row["target_id"]],
        valid_at=row["valid_at"],
        invalid_at=row["invalid_at"],
        evidence=tuple(_proof(proof, row["text"]) for proof in proofs),
        memory="documents" if row["collection"] else "conversations",
        learnt_at=row["created_at"],
        expired_at=row["expired_at"],
        confirmed="confirmed" in row["attributes"],
    )


def _proof(row: RowMapping, text: str) -> Evidence:
    said = row["version_id"] is None
    return Evidence(
        document_id=row["document_id"] or "",
        version_id=row["version_id"] or "",
        chunk_id="" if said else row["episode_id"],
        span=Span(row["start"], row["end"]),
        quote=text if row["quote"] is None else row["quote"],
        turn_id=row["episode_id"] if said else "",
        conversation_id=(row["name"] or "") if said else "",
        dated=row["valid_at"] if said else row["dated"],
    )


async def named(connection: AsyncConnection, group_ids: Sequence[str], keys: Sequence[str], epoch: int) -> list[Entity]:
    """Visible entities with one of these keys as name or alias, longer names first; then those that are read as one
    with them."""
    keys = [name for name in dict.fromkeys(keys) if name][:MAX_KEYS]
    if not keys:
        return []
    # Two look-ups, each by its index: a condition that is either of them reads the whole group.
    by_key = select(entities.c.id).where(entities.c.group_id.in_(group_ids), entities.c.key.in_(keys))
    by_alias = select(aliases.c.entity_id).where(aliases.c.group_id.in_(group_ids), aliases.c.key.in_(keys))
    query = (
        select(entities.c.id, entities.c.name, entities.c.labels)
        .where(entities.c.id.in_(union_all(by_key, by_alias)), mentioned(epoch))
        .order_by(func.length(entities.c.key).desc(), entities.c.id)
        .limit(MAX_NAMED)
    )
    found = [Entity(row[0], row[1], tuple(row[2])) for row in await connection.execute(query)]
    ids = {entity.id for entity in found}
    if further := sorted(await all_of(connection, ids) - ids)[:MAX_NAMED]:
        query = select(entities.c.id, entities.c.name, entities.c.labels).where(
            entities.c.id.in_(further), mentioned(epoch)
        )
        found += [Entity(row[0], row[1], tuple(row[2])) for row in await connection.execute(query)]
    return found
