"""What a model claimed of documents without their saying so: listed with the reason, and never searched.

A person looks at it and releases it, which makes it a fact that this person vouches for, on the passage it was read
from; or discards it. Both are known by the passage: a document that changes is read, and judged, anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import RowMapping, and_, delete, func, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database import Database
from aegis.database.outbox import Outbox
from aegis.errors import Conflict, Forbidden, NotFound
from aegis.scope import Scope, derived_id
from memory.extraction import NAME, Extract, FoundEntity, FoundFact
from memory.facts.history import record, withdraw
from memory.facts.rows import tell_graph
from memory.facts.tables import evidence, facts, refused
from memory.facts.visibility import Epoch
from memory.facts.writing import GraphWriter
from memory.naming import key
from memory.reading.tables import quarantined
from retrieval.tables import chunks, versions, visible_at

State = Literal["held", "released", "discarded"]


@dataclass(frozen=True, slots=True)
class Quarantined:
    """`quote` is the sentence of the passage that comes closest."""

    id: str
    subject: str
    relation: str
    object: str
    text: str
    quote: str
    reason: str
    model: str
    at: datetime
    chunk_id: str
    document_id: str
    title: str


class Quarantine:
    """`settled` returns when what was released can be found."""

    def __init__(
        self,
        database: Database,
        epoch: Epoch,
        outbox: Outbox,
        now: Callable[[], datetime],
        settled: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._database = database
        self._epoch = epoch
        self._outbox = outbox
        self._now = now
        self._settled = settled

    async def page(
        self, scope: Scope, *, after: str = "", limit: int = 100, document: str | None = None
    ) -> list[Quarantined]:
        """Of documents as they are now, or of one, in order of id."""
        columns = [quarantined.c[name] for name in ("id", "subject", "relation", "object", "text", "quote", "reason")]
        columns += [quarantined.c.model, quarantined.c.at, quarantined.c.episode_id]
        query = (
            select(*columns, versions.c.document_id, versions.c.title)
            .join(versions, and_(versions.c.id == quarantined.c.version_id, visible_at(await self._epoch.epoch())))
            .where(_held(scope), quarantined.c.id > after)
            .where(versions.c.document_id == document if document is not None else true())
            .order_by(quarantined.c.id)
            .limit(limit)
        )
        async with self._database.read() as connection:
            return [Quarantined(*row) for row in await connection.execute(query)]

    async def total(self, scope: Scope) -> int:
        query = (
            select(func.count())
            .select_from(quarantined)
            .join(versions, and_(versions.c.id == quarantined.c.version_id, visible_at(await self._epoch.epoch())))
            .where(_held(scope))
        )
        async with self._database.read() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def release(self, scope: Scope, identifier: str) -> str:
        """The id of the fact that it is now. Raises NotFound, Forbidden, Conflict where the fact was forbidden."""
        epoch = await self._epoch.epoch()
        async with self._database.write() as connection:
            row = await _row(connection, scope, identifier, epoch)
            extract = _claimed(row)
            ids = ([row["episode_id"]], [extract])
            await connection.run_sync(
                GraphWriter().writing(row["collection"], row["document_id"], row["version_id"], *ids)
            )
            fact = await self._vouched(connection, scope, row, extract.facts[0])
            told = f"A person released what {row['model'] or 'a model'} had claimed. It was held back: {row['reason']}"
            before = {"fact": {"group_id": row["group_id"]}, "quarantined": identifier}
            group, by, at = row["group_id"], scope.user, self._now()
            await record(connection, group, fact, "released", reason=told, by=by, at=at, before=before)
            await _now_is(connection, identifier, "released")
        self._outbox.wake()
        if self._settled is not None:
            await self._settled()
        return fact

    async def discard(self, scope: Scope, identifier: str) -> None:
        """It is listed no more. Raises NotFound, Forbidden."""
        epoch = await self._epoch.epoch()
        async with self._database.write() as connection:
            await _row(connection, scope, identifier, epoch)
            await _now_is(connection, identifier, "discarded")

    async def _vouched(self, connection: AsyncConnection, scope: Scope, row: RowMapping, found: FoundFact) -> str:
        """Marked as confirmed, which it is; its id."""
        group = row["group_id"]
        source, target = (derived_id("entity", group, end) for end in (found.source, found.target))
        fact = derived_id("fact", group, source, found.relation, target, key(found.text))
        there = select(facts.c.attributes).where(facts.c.id == fact)
        attributes = (await connection.execute(there)).scalar_one_or_none()
        if attributes is None:  # the writer leaves out what somebody has refused
            raise Conflict("Somebody forbade this fact; take that back first: aegis memory history", fact_id=fact)
        marked = {**attributes, "confirmed": {"by": scope.user, "at": self._now().isoformat()}, "claimed": row["model"]}
        await connection.execute(update(facts).where(facts.c.id == fact).values(attributes=marked))
        return fact


async def hold_again(connection: AsyncConnection, fact_id: str, before: Any) -> None:
    """Undo `release`: the fact goes, unless another passage proves it, too."""
    held = select(quarantined.c.episode_id).where(quarantined.c.id == before["quarantined"]).scalar_subquery()
    others = select(evidence.c.fact_id).where(evidence.c.fact_id == fact_id, evidence.c.episode_id != held).limit(1)
    if (await connection.execute(others)).first() is None:
        await withdraw(connection, fact_id)
        await connection.execute(delete(refused).where(refused.c.fact_id == fact_id))  # it may be released again
    else:
        mine = and_(evidence.c.fact_id == fact_id, evidence.c.episode_id == held)
        await connection.execute(delete(evidence).where(mine))
        await tell_graph(connection, facts=[fact_id])
    await _now_is(connection, before["quarantined"], "held")


def _held(scope: Scope) -> Any:
    return and_(quarantined.c.collection.in_(sorted(scope.collections)), quarantined.c.state == "held")


async def _row(connection: AsyncConnection, scope: Scope, identifier: str, epoch: int) -> RowMapping:
    query = (
        select(quarantined, versions.c.document_id, chunks.c.start, chunks.c.text.label("passage"))
        .join(versions, and_(versions.c.id == quarantined.c.version_id, visible_at(epoch)))
        .join(chunks, chunks.c.id == quarantined.c.episode_id)
        .where(quarantined.c.id == identifier, _held(scope))
    )
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"Nothing is held back as {identifier}.", id=identifier)
    if not scope.may_write(row["collection"]):
        raise Forbidden(f"You may not change facts of the collection {row['collection']}.", id=identifier)
    return row


async def _now_is(connection: AsyncConnection, identifier: str, state: State) -> None:
    await connection.execute(update(quarantined).where(quarantined.c.id == identifier).values(state=state))


def _claimed(row: RowMapping) -> Extract:
    """As the writer of the graph takes it: on the sentence that comes closest, or on the whole passage."""
    ends = [FoundEntity(name, key(name), NAME) for name in (row["subject"], row["object"])]
    quote = row["quote"] if row["quote"] and row["quote"] in row["passage"] else row["passage"]
    start = row["start"] + row["passage"].index(quote)
    place = (start, start + len(quote), quote)
    fact = FoundFact(ends[0].key, ends[1].key, row["relation"], " ".join(row["text"].split()), *place, None, None)
    return Extract(tuple(ends), (fact,))
