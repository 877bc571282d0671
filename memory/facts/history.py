"""What changed a fact, by whom and why, kept so that it can be undone.

Superseding closes a fact's time and leaves it there. Correcting and forbidding take it out of the tables, so that no
search can meet it; the change keeps what is needed to put it back, until its source is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.scope import derived_id
from memory.facts.dropping import drop_unsupported
from memory.facts.rows import batches, insert_new, tell_graph
from memory.facts.tables import changes, entities, evidence, facts, mentions, refused

Kind = Literal["superseded", "corrected", "forbidden", "confirmed", "merged", "pruned", "restored", "released"]
BY_RULE = "rule"
_TIMES = ("valid_at", "invalid_at", "expired_at", "reference_time", "created_at", "at")


@dataclass(frozen=True, slots=True)
class Change:
    id: str
    fact_id: str
    kind: Kind
    other_id: str
    reason: str
    by: str
    at: datetime
    undone_at: datetime | None


async def record(
    connection: AsyncConnection,
    group: str,
    fact_id: str,
    kind: Kind,
    *,
    reason: str,
    by: str,
    at: datetime,
    other_id: str = "",
    before: Mapping[str, Any] | None = None,
) -> bool:
    """Keep a change. False where the very same one is kept already, undone or not: it is not made again."""
    identifier = derived_id("change", group, kind, fact_id, other_id, "" if kind == "superseded" else at.isoformat())
    known = select(changes.c.id).where(changes.c.id == identifier)
    if (await connection.execute(known)).first() is not None:
        return False
    row = {"id": identifier, "group_id": group, "fact_id": fact_id, "kind": kind, "other_id": other_id}
    row |= {"reason": reason, "by": by, "before": packed(before or {}), "at": at, "undone_at": None}
    await connection.execute(insert(changes), [row])
    return True


async def withdraw(connection: AsyncConnection, fact_id: str) -> dict[str, Any]:
    """Take a fact out of the tables, with its evidence; what `put_back` needs. The words are not to be learnt again."""
    row = (await connection.execute(select(facts).where(facts.c.id == fact_id))).mappings().one()
    proofs = (await connection.execute(select(evidence).where(evidence.c.fact_id == fact_id))).mappings().all()
    ends = [row["source_id"], row["target_id"]]
    named = (await connection.execute(select(entities).where(entities.c.id.in_(ends)))).mappings().all()
    kept = {"fact": dict(row), "evidence": [dict(one) for one in proofs], "entities": [dict(one) for one in named]}
    refusal = {"fact_id": fact_id, "group_id": row["group_id"], "at": datetime.now(UTC)}
    await insert_new(connection, refused, [refusal])
    await connection.execute(delete(evidence).where(evidence.c.fact_id == fact_id))
    await drop_unsupported(connection, [fact_id], [])
    return kept


async def put_back(connection: AsyncConnection, before: Mapping[str, Any]) -> None:
    """Undo `withdraw`, as far as its evidence has not been deleted since."""
    kept = unpacked(before)
    named = list(kept["entities"])
    await insert_new(connection, entities, named)
    await insert_new(connection, facts, [kept["fact"]])
    await insert_new(connection, evidence, kept["evidence"])
    said_in = [
        {"episode_id": row["episode_id"], "entity_id": one["id"], "group_id": one["group_id"]}
        | {"collection": one["collection"], "created_at": one["created_at"]}
        for row in kept["evidence"]
        for one in named
    ]
    await insert_new(connection, mentions, said_in)
    await connection.execute(delete(refused).where(refused.c.fact_id == kept["fact"]["id"]))
    await tell_graph(connection, entities=[row["id"] for row in named], facts=[kept["fact"]["id"]])


async def forget_sources(connection: AsyncConnection, gone_facts: Sequence[str], episode_ids: Iterable[str]) -> None:
    """After evidence was deleted: what a vanished fact had superseded holds again, and no change quotes it any more."""
    for part in batches(gone_facts):
        by_gone = (changes.c.other_id.in_(part), changes.c.undone_at.is_(None), changes.c.kind == "superseded")
        found = (await connection.execute(select(changes.c.fact_id, changes.c.before).where(*by_gone))).all()
        for fact_id, before in found:
            await reopen(connection, fact_id, before)
        await connection.execute(delete(changes).where(or_(changes.c.other_id.in_(part), changes.c.fact_id.in_(part))))
    await _scrub(connection, set(episode_ids))


async def reopen(connection: AsyncConnection, fact_id: str, before: Mapping[str, Any]) -> None:
    """Give a superseded fact the times back that it had."""
    await connection.execute(update(facts).where(facts.c.id == fact_id).values(**unpacked(before)))
    await tell_graph(connection, facts=[fact_id])


async def _scrub(connection: AsyncConnection, episodes: set[str]) -> None:
    """Kept copies of withdrawn facts lose the evidence that was deleted, and go with the last of it."""
    query = select(changes.c.id, changes.c.before).where(changes.c.kind.in_(("corrected", "forbidden")))
    for identifier, before in (await connection.execute(query)).all():
        kept = [row for row in before.get("evidence", ()) if row["episode_id"] not in episodes]
        if len(kept) == len(before.get("evidence", ())):
            continue
        mine = changes.c.id == identifier
        if kept:
            await connection.execute(update(changes).where(mine).values(before={**before, "evidence": kept}))
        else:
            await connection.execute(delete(changes).where(mine))


def packed(value: Any) -> Any:
    """As JSON can hold it."""
    if isinstance(value, Mapping):
        return {str(name): packed(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [packed(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def unpacked(value: Any, name: str = "") -> Any:
    if isinstance(value, Mapping):
        return {key: unpacked(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [unpacked(item) for item in value]
    return datetime.fromisoformat(value) if name in _TIMES and isinstance(value, str) else value
