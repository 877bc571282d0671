"""What a person does to a fact: correct it, confirm it, forbid it, and take that back.

A corrected or forbidden fact is taken out and not learnt again from the same words. What people said may be changed
by whoever said it, what documents say by whoever may write to their collection; others do not find it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import RowMapping, and_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database import Database
from aegis.database.outbox import Outbox
from aegis.errors import Conflict, Forbidden, InvalidInput, NotFound
from aegis.scope import Scope, derived_id
from memory.facts import Fact
from memory.facts.consolidation import put_back as unprune
from memory.facts.history import Change, Kind, put_back, record, reopen, withdraw
from memory.facts.merging import separate
from memory.facts.rows import insert_new, tell_graph
from memory.facts.store import FactStore
from memory.facts.tables import NAME_LENGTH, changes, entities, evidence, facts, mentions
from memory.facts.visibility import groups_of
from memory.naming import key
from memory.reading.quarantine import hold_again

LONGEST_TEXT = 2000
UNSET: Any = object()


@dataclass(frozen=True, slots=True)
class Correction:
    """What the fact should say; None leaves a part as it is. Dates may be set to nothing: UNSET leaves them."""

    text: str | None = None
    relation: str | None = None
    source: str | None = None
    target: str | None = None
    valid_at: datetime | None = UNSET
    invalid_at: datetime | None = UNSET

    @property
    def empty(self) -> bool:
        times = (self.valid_at, self.invalid_at)
        return not any((self.text, self.relation, self.source, self.target)) and all(one is UNSET for one in times)


class Evicting(Protocol):
    """Answers that are kept to be given again, and may rest on facts."""

    async def evict(self, sources: Collection[str]) -> int: ...


@dataclass(frozen=True, slots=True)
class FactControl:
    database: Database
    facts: FactStore
    outbox: Outbox
    now: Callable[[], datetime]
    answers: Evicting | None = None
    settled: Callable[[], Awaitable[None]] | None = None  # returns when what was changed can be found

    async def correct(self, scope: Scope, fact_id: str, correction: Correction) -> Fact:
        """The fact as it is now: another one, with the same evidence. Raises NotFound, Forbidden, InvalidInput."""
        if correction.empty:
            raise InvalidInput("A correction says what is right: text, relation, source, target or a date.")
        await self._allowed(scope, fact_id)
        async with self.database.write() as connection:
            kept = await withdraw(connection, fact_id)
            new = await _corrected(connection, kept, correction, scope.user, self.now())
            await self._note(connection, scope, fact_id, "corrected", "A person corrected it.", kept, other_id=new)
        await self._changed(fact_id)
        return await self.facts.fact(scope, new)

    async def confirm(self, scope: Scope, fact_id: str) -> Fact:
        """Mark it as right. Confirming twice changes nothing."""
        fact = await self._allowed(scope, fact_id)
        if fact.confirmed:
            return fact
        async with self.database.write() as connection:
            row = await _row(connection, fact_id)
            marked = {**row["attributes"], "confirmed": {"by": scope.user, "at": self.now().isoformat()}}
            await connection.execute(update(facts).where(facts.c.id == fact_id).values(attributes=marked))
            before = {"attributes": row["attributes"], "fact": {"group_id": row["group_id"]}}
            await self._note(connection, scope, fact_id, "confirmed", "A person confirmed it.", before)
        return await self.facts.fact(scope, fact_id)

    async def forbid(self, scope: Scope, fact_id: str, reason: str = "") -> None:
        """Take it out; what it had superseded holds again."""
        await self._allowed(scope, fact_id)
        async with self.database.write() as connection:
            kept = await withdraw(connection, fact_id)
            await _release(connection, fact_id, self.now())
            why = reason[:LONGEST_TEXT] or "A person forbade it."
            await self._note(connection, scope, fact_id, "forbidden", why, kept)
        await self._changed(fact_id)

    async def undo(self, scope: Scope, change_id: str) -> Change:
        """Put back what the change took. Raises NotFound, Conflict where it is undone already."""
        async with self.database.write() as connection:
            mine = and_(changes.c.id == change_id, changes.c.group_id.in_(groups_of(scope)))
            row = (await connection.execute(select(changes).where(mine))).mappings().one_or_none()
            if row is None:
                raise NotFound(f"There is no change {change_id}.", change_id=change_id)
            if row["undone_at"] is not None:
                raise Conflict(f"The change {change_id} is undone already.", change_id=change_id)
            await _undo(connection, row)
            undone = update(changes).where(changes.c.id == change_id).values(undone_at=self.now())
            await connection.execute(undone)
        await self._changed(row["fact_id"], row["other_id"])
        return (await self.history(scope, change_id=change_id))[0]

    async def _changed(self, *fact_ids: str) -> None:
        self.outbox.wake()
        if self.answers is not None:
            await self.answers.evict(fact_ids)
        if self.settled is not None:
            await self.settled()

    async def history(
        self, scope: Scope, *, fact_id: str | None = None, change_id: str | None = None, limit: int = 100
    ) -> Sequence[Change]:
        """Changes that the scope sees, newest first."""
        wanted: list[Any] = [changes.c.group_id.in_(groups_of(scope))]
        if fact_id is not None:
            wanted.append((changes.c.fact_id == fact_id) | (changes.c.other_id == fact_id))
        if change_id is not None:
            wanted.append(changes.c.id == change_id)
        query = select(*(changes.c[name] for name in _SHOWN)).where(*wanted)
        query = query.order_by(changes.c.at.desc(), changes.c.id).limit(limit)
        async with self.database.read() as connection:
            return [Change(**row) for row in (await connection.execute(query)).mappings()]

    async def _note(
        self,
        connection: AsyncConnection,
        scope: Scope,
        fact_id: str,
        kind: Kind,
        reason: str,
        before: Mapping[str, Any],
        other_id: str = "",
    ) -> None:
        group = before["fact"]["group_id"]
        note = {"reason": reason, "by": scope.user, "other_id": other_id}
        await record(connection, group, fact_id, kind, at=self.now(), before=before, **note)

    async def _allowed(self, scope: Scope, fact_id: str) -> Fact:
        fact = await self.facts.fact(scope, fact_id)
        async with self.database.read() as connection:
            row = await _row(connection, fact_id)
        if row["collection"] and not scope.may_write(row["collection"]):
            raise Forbidden(f"You may not change facts of the collection {row['collection']}.", fact_id=fact_id)
        return fact


_SHOWN = ("id", "fact_id", "kind", "other_id", "reason", "by", "at", "undone_at")


async def _row(connection: AsyncConnection, fact_id: str) -> RowMapping:
    row = (await connection.execute(select(facts).where(facts.c.id == fact_id))).mappings().one_or_none()
    if row is None:
        raise NotFound(f"There is no fact {fact_id}.", fact_id=fact_id)
    return row


async def _undo(connection: AsyncConnection, row: RowMapping) -> None:
    if row["kind"] in ("corrected", "forbidden"):
        there = select(facts.c.id).where(facts.c.id == row["other_id"])
        if (await connection.execute(there)).first() is not None:
            await withdraw(connection, row["other_id"])
        await put_back(connection, row["before"])
    elif row["kind"] == "released":
        await hold_again(connection, row["fact_id"], row["before"])
    elif row["kind"] == "merged":
        await separate(connection, row["fact_id"])
    elif row["kind"] == "pruned":
        await unprune(connection, row["before"])
    else:
        before = {name: value for name, value in row["before"].items() if name != "fact"}
        await reopen(connection, row["fact_id"], before)


async def _release(connection: AsyncConnection, fact_id: str, now: datetime) -> None:
    """Whatever was superseded by a fact that is no fact holds again."""
    by_it = and_(changes.c.other_id == fact_id, changes.c.kind == "superseded", changes.c.undone_at.is_(None))
    for row in (await connection.execute(select(changes).where(by_it))).mappings().all():
        await reopen(connection, row["fact_id"], row["before"])
        await connection.execute(update(changes).where(changes.c.id == row["id"]).values(undone_at=now))


async def _corrected(
    connection: AsyncConnection, kept: dict[str, Any], correction: Correction, user: str, now: datetime
) -> str:
    """Write the fact as it should be, on the evidence of the wrong one; its id."""
    old = kept["fact"]
    names = {row["id"]: row["name"] for row in kept["entities"]}
    ends: dict[str, str] = {}
    for end, given in (("source_id", correction.source), ("target_id", correction.target)):
        ends[end] = await _entity(connection, old, given, kept["evidence"], now) if given else old[end]
        names.setdefault(ends[end], given or "")
    relation = (correction.relation or old["relation"])[:120]
    text = " ".join((correction.text or _retold(old["text"], correction, kept)).split())[:LONGEST_TEXT]
    identifier = derived_id(
        "fact", old["group_id"], ends["source_id"], relation, ends["target_id"], key(text), "corrected"
    )
    times = {name: getattr(correction, name) for name in ("valid_at", "invalid_at")}
    row = {**old, **ends, "id": identifier, "relation": relation, "text": text}
    row |= {name: value for name, value in times.items() if value is not UNSET}
    row["attributes"] = {"confirmed": {"by": user, "at": now.isoformat()}, "corrected_from": old["id"]}
    await insert_new(connection, facts, [row])
    proofs = [{**one, "fact_id": identifier, "quote": one["quote"] or old["text"]} for one in kept["evidence"]]
    await insert_new(connection, evidence, proofs)
    await tell_graph(connection, entities=list(ends.values()), facts=[identifier])
    return identifier


def _retold(text: str, correction: Correction, kept: dict[str, Any]) -> str:
    """The old sentence with the names put right, where it holds them."""
    old = kept["fact"]
    by_id = {row["id"]: row["name"] for row in kept["entities"]}
    for end, given in (("source_id", correction.source), ("target_id", correction.target)):
        if given:
            text = text.replace(by_id.get(old[end], given), given)
    return text


async def _entity(
    connection: AsyncConnection, old: dict[str, Any], name: str, proofs: Sequence[dict[str, Any]], now: datetime
) -> str:
    if not key(name):
        raise InvalidInput(f"{name[:80]!r} is no name of a thing.")
    group = {"group_id": old["group_id"], "collection": old["collection"]}
    identifier = derived_id("entity", old["group_id"], key(name))
    row = {**group, "id": identifier, "name": name[:NAME_LENGTH], "key": key(name), "labels": ["Entity"]}
    await insert_new(connection, entities, [{**row, "summary": "", "attributes": {}, "created_at": now}])
    said_in = [
        {**group, "episode_id": proof["episode_id"], "entity_id": identifier, "created_at": now} for proof in proofs
    ]
    await insert_new(connection, mentions, said_in)
    return identifier
