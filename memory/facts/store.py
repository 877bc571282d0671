"""The graph memory in the relational store, read through a scope."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime

from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database import Database
from aegis.errors import IndexUnavailable, NotFound
from aegis.scope import Scope
from memory.facts import Entity, Fact, ScoredFact
from memory.facts.index import FactIndex
from memory.facts.loading import load_entities, load_facts, named
from memory.facts.points import spoken
from memory.facts.rows import PAYLOAD_IDS, batches, column, tell_graph
from memory.facts.tables import entities, evidence, facts
from memory.facts.visibility import Epoch, Time, groups_of, mentioned, stated
from memory.facts.wording import overlap
from memory.naming import SELF, asked, key, speaks_of_self
from retrieval.embedding import Embedder
from retrieval.tables import publications

MAX_CANDIDATES = 400  # facts of the entities named in a question that are ranked
MAX_EMBEDDED = 40  # best facts that are compared by embedding, too
SHORTLIST = 30  # facts of each half of the index that are read
MOST = 2000  # facts that are read for one question, at most
COSINE = 0.5  # what nearness in meaning counts beside shared words

logger = logging.getLogger(__name__)


async def _end_of(connection: AsyncConnection, epoch: int) -> datetime | None:
    """When the next epoch began; None while this one lasts."""
    query = select(publications.c.closed_at).where(publications.c.epoch == epoch + 1)
    return (await connection.execute(query)).scalar_one_or_none()


class FactStore:
    """`memory.facts.Facts`: found in the index, read from the tables. Without an index, or while it is not whole or
    out of reach, the tables find them, too: the same facts, in more time."""

    def __init__(
        self, database: Database, epoch: Epoch, embedder: Embedder | None = None, index: FactIndex | None = None
    ) -> None:
        self._database = database
        self._epoch = epoch
        self._embedder = embedder
        self._index = index

    async def search(
        self,
        scope: Scope,
        query: str,
        *,
        limit: int = 10,
        epoch: int | None = None,
        as_of: datetime | None = None,
        known: datetime | None = None,
    ) -> list[ScoredFact]:
        """`known`: what people had said by then counts; without it the moment at which the epoch ended."""
        at = await self._at(epoch)
        async with self._database.read() as connection:
            if known is None and epoch is not None:
                known = await _end_of(connection, at)
            names = [*asked(query), *(SELF if speaks_of_self(query) else ())]
            about = await named(connection, groups_of(scope), names, at)
        if not about:
            return []
        time = Time(at, as_of, known)
        found = await self._indexed(scope, query, about, time, limit)
        return (await self._scanned(scope, query, about, time) if found is None else found)[:limit]

    async def _indexed(
        self, scope: Scope, query: str, about: Sequence[Entity], time: Time, limit: int
    ) -> list[ScoredFact] | None:
        """None where the index cannot answer."""
        if self._index is None or not self._index.complete():
            return None
        ends, groups, wanted = [entity.id for entity in about], groups_of(scope), max(limit, SHORTLIST)
        while True:
            try:
                near = await self._index.facts(groups, query, time, ends, wanted)
            except IndexUnavailable as error:
                logger.warning("Facts are looked for in the tables: %s", error)
                return None
            found = await self._holding(scope, time, [each.id for each in near[:wanted]])
            if len(found) >= limit or len(near) < wanted or wanted >= MOST:
                break
            wanted = min(MOST, wanted * 4)  # seldom: facts that were gone for some epochs between others
        cosines = {each.id: each.cosine for each in near}
        scored = zip(found, _overlaps(query, found), strict=True)
        return _ranked(ScoredFact(fact, score + COSINE * cosines[fact.id]) for fact, score in scored)

    async def _holding(self, scope: Scope, time: Time, ids: Sequence[str]) -> list[Fact]:
        """Those of these that the tables say hold then."""
        async with self._database.read() as connection:
            return [
                fact
                for part in batches(ids)
                for fact in await load_facts(
                    connection,
                    groups_of(scope),
                    time.epoch,
                    and_(facts.c.id.in_(part), time.condition()),
                    as_of=time.as_of,
                )
            ]

    async def _scanned(self, scope: Scope, query: str, about: Sequence[Entity], time: Time) -> list[ScoredFact]:
        async with self._database.read() as connection:
            found = await self._touching(connection, scope, about, time)
        ranked = _ranked(map(ScoredFact, found, _overlaps(query, found)))
        if self._embedder is not None:
            ranked = await _nearest(self._embedder, query, ranked[:MAX_EMBEDDED])
        return ranked

    async def entities_named(self, scope: Scope, names: Sequence[str]) -> list[Entity]:
        at = await self._at(None)
        async with self._database.read() as connection:
            found = await named(connection, groups_of(scope), [key(name) for name in names], at)
            shown = await load_entities(connection, [entity.id for entity in found], at)
        return list({shown[entity.id].id: shown[entity.id] for entity in found}.values())

    async def fact(self, scope: Scope, fact_id: str) -> Fact:
        found = await self.facts(scope, [fact_id])
        if not found:
            raise NotFound(f"There is no fact {fact_id}.", fact_id=fact_id)
        return found[0]

    async def facts(self, scope: Scope, ids: Sequence[str], *, epoch: int | None = None) -> list[Fact]:
        """Those of these facts that the scope sees, in the order asked for."""
        at = await self._at(epoch)
        async with self._database.read() as connection:
            found = {
                fact.id: fact
                for part in batches(dict.fromkeys(ids))
                for fact in await load_facts(connection, groups_of(scope), at, facts.c.id.in_(part))
            }
        return [found[identifier] for identifier in ids if identifier in found]

    async def stated_at(self, scope: Scope, places: Sequence[tuple[str, int, int]]) -> list[Fact]:
        """Facts that the scope sees, by where they are stated: (chunk, start, end), in order of the places."""
        found: dict[str, None] = {}
        async with self._database.read() as connection:
            for chunk, start, end in places:
                here = (evidence.c.episode_id == chunk, evidence.c.start < end, evidence.c.end > start)
                query = select(evidence.c.fact_id).where(*here).order_by(evidence.c.start, evidence.c.fact_id)
                found |= dict.fromkeys(await column(connection, query))
        return await self.facts(scope, list(found)) if found else []

    async def page(self, scope: Scope, *, after: str = "", limit: int = 100) -> list[Fact]:
        at = await self._at(None)
        async with self._database.read() as connection:
            return await load_facts(connection, groups_of(scope), at, facts.c.id > after, limit=limit)

    async def totals(self, scope: Scope) -> tuple[int, int]:
        at = await self._at(None)
        async with self._database.read() as connection:
            counts = [
                int((await connection.execute(query)).scalar_one())
                for query in (
                    select(func.count()).where(entities.c.group_id.in_(groups_of(scope)), mentioned(at)),
                    select(func.count()).where(facts.c.group_id.in_(groups_of(scope)), stated(at)),
                )
            ]
        return counts[0], counts[1]

    async def _touching(
        self, connection: AsyncConnection, scope: Scope, about: Sequence[Entity], time: Time
    ) -> list[Fact]:
        """Facts of these entities that hold; those that join two of them are taken before the rest."""
        if not about:
            return []
        ids = [entity.id for entity in about]
        ends = (facts.c.source_id.in_(ids), facts.c.target_id.in_(ids))
        found: dict[str, Fact] = {}
        for joined in (and_(*ends), or_(*ends)):
            wanted = and_(joined, time.condition())
            loaded = await load_facts(
                connection, groups_of(scope), time.epoch, wanted, limit=MAX_CANDIDATES, as_of=time.as_of
            )
            found |= {fact.id: fact for fact in loaded if fact.id not in found}
        return list(found.values())

    async def _at(self, epoch: int | None) -> int:
        newest = await self._epoch.epoch()
        return newest if epoch is None else min(epoch, newest)  # a later epoch than the newest may be half published


async def project_again(database: Database) -> AsyncIterator[int]:
    """Put every entity and fact into the outbox anew, for a graph that was emptied; yields how many so far."""
    done = 0
    for kind, table in (("entities", entities), ("facts", facts)):
        after = ""
        while True:
            query = select(table.c.id).where(table.c.id > after).order_by(table.c.id).limit(PAYLOAD_IDS * 10)
            async with database.write() as connection:
                ids = await column(connection, query)
                await tell_graph(connection, **{kind: ids})
            if not ids:
                break
            after = ids[-1]
            done += len(ids)
            yield done


async def _nearest(embedder: Embedder, query: str, ranked: Sequence[ScoredFact]) -> list[ScoredFact]:
    """The same, with half the cosine to the question added to their scores."""
    if not ranked:
        return []
    vectors = await embedder.embed([query, *(scored.fact.text for scored in ranked)])
    near = (vectors[1:] @ vectors[0]).tolist()
    return _ranked(ScoredFact(old.fact, old.score + COSINE * cosine) for old, cosine in zip(ranked, near, strict=True))


def _ranked(scored: Iterable[ScoredFact]) -> list[ScoredFact]:
    return sorted(scored, key=lambda each: (-each.score, each.fact.id))


def _overlaps(query: str, found: Sequence[Fact]) -> list[float]:
    return overlap(query, [f"{fact.text} {spoken(fact.relation)}" for fact in found])
