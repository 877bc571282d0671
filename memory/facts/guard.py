"""What Graphiti, or a model behind it, may not do to facts.

A stored fact is ended only where the same subject and relation has another object, in a relation that has one object
at a time; what a model thinks contradicts it is no reason. With `entailed`, a new fact whose words its episode does
not hold is not stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from memory.facts.rows import batches
from memory.facts.tables import facts
from memory.facts.wording import content_words
from memory.statements import single

HELD = 0.6  # share of a fact's content words that the quote must hold
_ENDS = ("invalid_at", "expired_at")


async def guarded(connection: AsyncConnection, edges: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same edges; those that would end a stored fact without reason keep the times that are stored."""
    stored = await _stored(connection, [edge["uuid"] for edge in edges])
    kept: list[dict[str, Any]] = []
    for edge in map(dict, edges):
        old = stored.get(edge["uuid"])
        ends = old is not None and all(old[name] is None for name in _ENDS) and any(edge.get(name) for name in _ENDS)
        if ends and not await _replaced(connection, edge, edges):
            edge |= dict.fromkeys(_ENDS)
        kept.append(edge)
    return kept


def entailed(fact: str, quote: str) -> bool:
    """Lexically, at least: the quote holds most of what the fact says."""
    wanted = content_words(fact)
    return bool(wanted) and len(wanted & content_words(quote)) >= HELD * len(wanted)


async def _replaced(connection: AsyncConnection, edge: Mapping[str, Any], edges: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the same subject and relation is stated with another object, with this save or before it."""
    if not single(edge["name"]):
        return False
    subject, target = edge["source_node_uuid"], edge["target_node_uuid"]
    if any(
        (one["source_node_uuid"], one["name"]) == (subject, edge["name"]) and one["target_node_uuid"] != target
        for one in edges
    ):
        return True
    other = select(facts.c.id).where(
        facts.c.source_id == subject, facts.c.relation == edge["name"], facts.c.target_id != target
    )
    return (await connection.execute(other.limit(1))).first() is not None


async def _stored(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, RowMapping]:
    found: dict[str, RowMapping] = {}
    for part in batches(ids):
        query = select(facts.c.id, facts.c.invalid_at, facts.c.expired_at).where(facts.c.id.in_(part))
        found |= {row["id"]: row for row in (await connection.execute(query)).mappings()}
    return found
