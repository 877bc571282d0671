"""Neighbourhoods and paths from the relational tables: a bounded search in breadth, one statement a step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database import Database
from aegis.scope import Scope
from memory.facts import Entity, Fact, Neighbourhood
from memory.facts.loading import load_entities, load_facts
from memory.facts.merging import all_of, read_as
from memory.facts.rows import batches
from memory.facts.tables import entities, facts
from memory.facts.visibility import Epoch, groups_of, mentioned, stated

MAX_HOPS = 6
MAX_STEP = 2000  # facts followed in one step of a path
MAX_REACHED = 10_000  # entities looked at on the way to one

_Step = tuple[str, str, str]  # fact, source, target


class RelationalNeighbourhoods:
    """`memory.facts.Neighbourhoods`. Also gives other adapters what is visible of what they found."""

    def __init__(self, database: Database, epoch: Epoch) -> None:
        self._database = database
        self._epoch = epoch

    async def around(self, scope: Scope, entity_ids: Sequence[str], *, hops: int = 1, limit: int = 50) -> Neighbourhood:
        at = await self._epoch.epoch()
        async with self._database.read() as connection:
            starts = await _visible(connection, scope, at, entity_ids)
            found: dict[str, Fact] = {}
            reached = frontier = {entity.id for entity in starts.values()}
            for _ in range(min(hops, MAX_HOPS)):
                if not frontier or len(found) >= limit:
                    break
                near_ids = await all_of(connection, frontier)
                ends = or_(facts.c.source_id.in_(near_ids), facts.c.target_id.in_(near_ids))
                wanted = and_(ends, facts.c.expired_at.is_(None), facts.c.id.not_in(found))
                near = await load_facts(connection, groups_of(scope), at, wanted, limit=limit - len(found))
                found |= {fact.id: fact for fact in near}
                frontier = {end.id for fact in near for end in (fact.source, fact.target)} - reached
                reached = reached | frontier
        return neighbourhood(starts.values(), list(found.values()))

    async def path(self, scope: Scope, start: str, end: str, *, hops: int = 4) -> Neighbourhood:
        at = await self._epoch.epoch()
        async with self._database.read() as connection:
            starts = await _visible(connection, scope, at, [start, end])
            if start not in starts or end not in starts:
                return Neighbourhood((), ())
            start, end = starts[start].id, starts[end].id
            came = await _walk(connection, scope, at, start, end, min(hops, MAX_HOPS))
            if end not in came:
                return Neighbourhood((), ())
            steps = _steps_back(came, start, end)
        return await self.along(scope, start, [fact for fact, _ in steps])

    async def along(self, scope: Scope, start: str, fact_ids: Sequence[str]) -> Neighbourhood:
        """The path from an entity over these facts in order; empty unless all of them are visible."""
        found = {fact.id: fact for fact in await self.visible(scope, fact_ids)}
        if len(found) < len(set(fact_ids)):
            return Neighbourhood((), ())
        at = await self._epoch.epoch()
        async with self._database.read() as connection:
            first = await load_entities(connection, [start], at)
        ids = [first[start].id]
        for identifier in fact_ids:
            fact = found[identifier]
            ids.append(fact.target.id if fact.source.id == ids[-1] else fact.source.id)
        whole = neighbourhood(first.values(), [found[identifier] for identifier in fact_ids])
        return Neighbourhood(whole.entities, whole.facts, tuple(ids))

    async def visible(self, scope: Scope, fact_ids: Sequence[str]) -> list[Fact]:
        """Those of these facts that the scope sees and that are not superseded, in the order given."""
        at = await self._epoch.epoch()
        found: dict[str, Fact] = {}
        async with self._database.read() as connection:
            for part in batches(dict.fromkeys(fact_ids)):
                wanted = and_(facts.c.id.in_(part), facts.c.expired_at.is_(None))
                found |= {fact.id: fact for fact in await load_facts(connection, groups_of(scope), at, wanted)}
        return [found[identifier] for identifier in dict.fromkeys(fact_ids) if identifier in found]

    async def entities(self, scope: Scope, ids: Sequence[str]) -> list[Entity]:
        """Those of these entities that the scope sees, each as what it is read as."""
        at = await self._epoch.epoch()
        async with self._database.read() as connection:
            return list((await _visible(connection, scope, at, ids)).values())


def neighbourhood(starts: Iterable[Entity], found: Sequence[Fact]) -> Neighbourhood:
    """The starts, then the ends of the facts, each once."""
    named = {entity.id: entity for entity in starts}
    for fact in found:
        named |= {end.id: end for end in (fact.source, fact.target) if end.id not in named}
    return Neighbourhood(tuple(named.values()), tuple(found))


async def _visible(connection: AsyncConnection, scope: Scope, epoch: int, ids: Sequence[str]) -> dict[str, Entity]:
    seen: set[str] = set()
    for part in batches(ids):
        wanted = and_(entities.c.id.in_(part), entities.c.group_id.in_(groups_of(scope)), mentioned(epoch))
        seen |= {row[0] for row in await connection.execute(select(entities.c.id).where(wanted))}
    found = await load_entities(connection, seen, epoch)
    return {identifier: found[identifier] for identifier in ids if identifier in found}


async def _walk(
    connection: AsyncConnection, scope: Scope, epoch: int, start: str, end: str, hops: int
) -> dict[str, tuple[str, str]]:
    """Breadth first: for each entity reached, the fact that led to it and the entity it led from."""
    came: dict[str, tuple[str, str]] = {start: ("", "")}
    frontier = [start]
    for _ in range(hops):
        reached: list[str] = []
        for fact, source, target in await _steps(connection, scope, epoch, frontier):
            for here, there in ((source, target), (target, source)):
                if here in frontier and there not in came:
                    came[there] = (fact, here)
                    reached.append(there)
        if end in came or not reached or len(came) > MAX_REACHED:
            break
        frontier = reached
    return came


async def _steps(connection: AsyncConnection, scope: Scope, epoch: int, frontier: Sequence[str]) -> list[_Step]:
    found: list[_Step] = []
    for part in batches(sorted(await all_of(connection, frontier))):
        query = (
            select(facts.c.id, facts.c.source_id, facts.c.target_id)
            .where(
                facts.c.group_id.in_(groups_of(scope)),
                or_(facts.c.source_id.in_(part), facts.c.target_id.in_(part)),
                facts.c.expired_at.is_(None),
                stated(epoch),
            )
            .order_by(facts.c.id)
            .limit(MAX_STEP)
        )
        found += [(row[0], row[1], row[2]) for row in await connection.execute(query)]
    others = await read_as(connection, {end for _, *ends in found for end in ends}, epoch)
    return [(fact, others.get(source, source), others.get(target, target)) for fact, source, target in found]


def _steps_back(came: dict[str, tuple[str, str]], start: str, end: str) -> list[tuple[str, str]]:
    steps: list[tuple[str, str]] = []
    at = end
    while at != start:
        fact, before = came[at]
        steps.append((fact, before))
        at = before
    return steps[::-1]
