"""Neo4j: a projection of the facts, filled from the outbox, and asked only for neighbourhoods and paths.

It answers with ids. What they stand for, and whether the scope sees it at the newest epoch, is read from the
relational store: the graph can be behind, but it cannot show what should not be seen. Imports Graphiti and the
Neo4j driver: import this module where a graph is opened, not at start.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, LiteralString, cast

from graphiti_core.driver.neo4j_driver import Neo4jDriver
from graphiti_core.graph_queries import get_range_indices
from graphiti_core.utils.bulk_utils import add_nodes_and_edges_bulk
from neo4j import AsyncGraphDatabase
from neo4j.exceptions import DriverError, Neo4jError
from sqlalchemy import select

from aegis.database import Database
from aegis.database.outbox import OutboxRow
from aegis.errors import GraphUnavailable
from aegis.scope import Scope
from aegis.settings import Neo4jSettings
from memory.facts import Neighbourhood
from memory.facts.driver import GraphitiEmbedder
from memory.facts.merging import read_as
from memory.facts.neighbourhoods import MAX_HOPS, RelationalNeighbourhoods, neighbourhood
from memory.facts.objects import load_nodes, load_recorded_edges
from memory.facts.rows import BATCH, TOPIC, batches, column
from memory.facts.tables import entities, facts, groups
from memory.facts.visibility import groups_of

WRITE_PATIENCE = 6  # a batch of writes may take this many times as long as a question
RETRY = 5.0  # seconds in which questions do not wait for a graph that did not answer
SPARE = 4  # times the limit is fetched, as some of it may not be visible
ATTEMPTS = 8  # paths tried over others' facts before the tables are asked

_AROUND = """
MATCH (start:Entity) WHERE start.uuid IN $starts AND start.group_id IN $groups
MATCH p = (start)-[:RELATES_TO*1..{hops}]-(:Entity)
WHERE all(step IN relationships(p) WHERE step.group_id IN $groups AND step.expired_at IS NULL)
UNWIND range(0, length(p) - 1) AS place
WITH relationships(p)[place] AS edge, place
WITH edge.uuid AS id, min(place) AS near
RETURN id ORDER BY near, id LIMIT $limit
"""
_PATH = """
MATCH (start:Entity {{uuid: $start}}), (end:Entity {{uuid: $end}})
MATCH p = shortestPath((start)-[:RELATES_TO*1..{hops}]-(end))
WHERE all(step IN relationships(p)
          WHERE step.group_id IN $groups AND step.expired_at IS NULL AND NOT step.uuid IN $not_seen)
RETURN [step IN relationships(p) | step.uuid] AS ids
"""
_DROP_FACTS = "MATCH ()-[edge:RELATES_TO]->() WHERE edge.uuid IN $ids DELETE edge"
_DROP_ENTITIES = "MATCH (node:Entity) WHERE node.uuid IN $ids DETACH DELETE node"
_COUNT_ENTITIES = "MATCH (node:Entity) WHERE node.group_id IN $groups RETURN count(node) AS n"
_COUNT_FACTS = "MATCH ()-[edge:RELATES_TO]->() WHERE edge.group_id IN $groups RETURN count(edge) AS n"
_PAGE_ENTITIES = """
MATCH (node:Entity) WHERE node.group_id IN $groups AND node.uuid > $after
RETURN node.uuid AS id ORDER BY id LIMIT $limit
"""
_PAGE_FACTS = """
MATCH ()-[edge:RELATES_TO]->() WHERE edge.group_id IN $groups AND edge.uuid > $after
RETURN DISTINCT edge.uuid AS id ORDER BY id LIMIT $limit
"""


class QuietNeo4jDriver(Neo4jDriver):
    """Graphiti's driver, but indexes are built once, one after the other, when we say so; and with time limits."""

    def __init__(self, settings: Neo4jSettings) -> None:
        super().__init__(settings.url, settings.user, settings.password.get_secret_value())
        if self._init_task is not None:
            self._init_task.cancel()
        self._superseded = self.client
        self.client = AsyncGraphDatabase.driver(
            settings.url,
            auth=(settings.user, settings.password.get_secret_value()),
            connection_timeout=settings.timeout,
            connection_acquisition_timeout=settings.timeout,
            max_transaction_retry_time=settings.timeout,
            notifications_min_severity="OFF",  # it warns of every property that no node has yet
        )

    async def close(self) -> None:
        await self._superseded.close()
        await super().close()

    async def build_indices_and_constraints(self, delete_existing: bool = False) -> None:
        """Look-ups by id and group only: words and vectors are searched elsewhere."""
        for query in get_range_indices(self.provider):
            await self._execute_index_query(query)


class Neo4jGraph:
    """An open Neo4j. Whatever goes wrong there is GraphUnavailable here."""

    def __init__(self, settings: Neo4jSettings) -> None:
        logging.getLogger("neo4j").setLevel(logging.ERROR)
        self.timeout = settings.timeout
        self.driver = QuietNeo4jDriver(settings)
        self.failures = 0  # times it did not answer
        self._away_until = 0.0
        self._prepared = False

    async def ask(self, query: str, **parameters: Any) -> list[Any]:
        async with self._guarded(self.timeout):
            result = await self.driver.execute_query(cast(LiteralString, query), params=parameters)
        self._away_until = 0.0
        return list(result.records)

    async def answer(self, query: str, **parameters: Any) -> list[Any]:
        """`ask` for somebody who waits: right after a failure the graph is not tried again."""
        if time.monotonic() < self._away_until:
            raise GraphUnavailable("Neo4j does not answer; it is asked again in a few seconds.")
        return await self.ask(query, **parameters)

    async def save(self, nodes: Sequence[Any], edges: Sequence[Any]) -> None:
        async with self._guarded(self.timeout * WRITE_PATIENCE):
            await add_nodes_and_edges_bulk(self.driver, [], [], list(nodes), list(edges), GraphitiEmbedder(None))

    async def ping(self) -> None:
        await self.ask("RETURN 1")

    async def prepare(self) -> None:
        """Build the indexes, once per process."""
        if not self._prepared:
            async with self._guarded(self.timeout * WRITE_PATIENCE):
                await self.driver.build_indices_and_constraints()
            self._prepared = True

    @asynccontextmanager
    async def _guarded(self, seconds: float) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except (DriverError, Neo4jError, OSError, TimeoutError) as error:
            self.failures += 1
            self._away_until = time.monotonic() + RETRY
            raise GraphUnavailable(f"Neo4j does not answer: {type(error).__name__}: {error}") from error


@asynccontextmanager
async def open_neo4j(settings: Neo4jSettings) -> AsyncGenerator[Neo4jGraph]:
    """Connects on first use, so that a server that is away does not keep us from starting."""
    graph = Neo4jGraph(settings)
    try:
        yield graph
    finally:
        await graph.driver.close()


class Neo4jProjection:
    """`retrieval.projection.Target`: loads what the outbox rows name, as it is now, and writes it with its own ids."""

    name = "neo4j"
    topics: Sequence[str] = (TOPIC,)

    def __init__(self, graph: Neo4jGraph, database: Database) -> None:
        self._graph = graph
        self._database = database

    @property
    def failures(self) -> int:
        return self._graph.failures

    async def held(self) -> tuple[int, int]:
        """Entities and facts of our groups that are there."""
        ours = await self._groups()
        found = [await self._graph.ask(query, groups=ours) for query in (_COUNT_ENTITIES, _COUNT_FACTS)]
        return found[0][0]["n"], found[1][0]["n"]

    async def sweep(self) -> None:
        """Delete what the tables do not have (any more)."""
        ours = await self._groups()
        for page, drop, table in (
            (_PAGE_FACTS, _DROP_FACTS, facts),
            (_PAGE_ENTITIES, _DROP_ENTITIES, entities),
        ):
            after = ""
            while records := await self._graph.ask(page, groups=ours, after=after, limit=BATCH):
                ids = [record["id"] for record in records]
                async with self._database.read() as connection:
                    kept = await column(connection, select(table.c.id).where(table.c.id.in_(ids)))
                    kept = [each for each in kept if each not in await read_as(connection, ids)]
                if gone := sorted(set(ids) - set(kept)):
                    await self._graph.ask(drop, ids=gone)
                after = ids[-1]

    async def _groups(self) -> list[str]:
        async with self._database.read() as connection:
            return await column(connection, select(groups.c.id))

    async def apply(self, rows: Sequence[OutboxRow]) -> None:
        """In order of the rows' last word on each id: what is gone by now is deleted, whatever an older row says."""
        await self._graph.prepare()
        named = _ids(rows, "entities") | _ids(rows, "gone_entities")
        stated = _ids(rows, "facts") | _ids(rows, "gone_facts")
        for part in batches(sorted(_ids(rows, "moved_facts"))):  # or they would be drawn twice
            await self._graph.ask(_DROP_FACTS, ids=part)
        for part in batches(sorted(named), 100):
            await self._entities(part)
        for part in batches(sorted(stated), 100):
            await self._facts(part)

    async def _entities(self, ids: Sequence[str]) -> None:
        async with self._database.read() as connection:
            others = await read_as(connection, ids)
            nodes = await load_nodes(connection, entities.c.id.in_([each for each in ids if each not in others]))
        gone = sorted(set(ids) - {node.uuid for node in nodes})
        if gone:
            await self._graph.ask(_DROP_ENTITIES, ids=gone)
        await self._graph.save(nodes, [])

    async def _facts(self, ids: Sequence[str]) -> None:
        """With the entities at their ends, each as what it is read as: the rows that name those may be in another
        batch."""
        async with self._database.read() as connection:
            edges = await load_recorded_edges(connection, facts.c.id.in_(ids))
            others = await read_as(connection, {end for edge in edges for end in _ends(edge)})
            for edge in edges:
                edge.source_node_uuid, edge.target_node_uuid = (others.get(end, end) for end in _ends(edge))
            ends = {end for edge in edges for end in _ends(edge)}
            nodes = await load_nodes(connection, entities.c.id.in_(sorted(ends)))
        gone = sorted(set(ids) - {edge.uuid for edge in edges})
        if gone:
            await self._graph.ask(_DROP_FACTS, ids=gone)
        await self._graph.save(nodes, edges)


def _ends(edge: Any) -> tuple[str, str]:
    return edge.source_node_uuid, edge.target_node_uuid


def _ids(rows: Sequence[OutboxRow], kind: str) -> set[str]:
    return {identifier for row in rows for identifier in row.payload.get(kind, ())}


class Neo4jNeighbourhoods:
    """`memory.facts.Neighbourhoods`: Neo4j finds, the relational store says what of it is visible."""

    def __init__(self, graph: Neo4jGraph, tables: RelationalNeighbourhoods) -> None:
        self._graph = graph
        self._tables = tables

    async def ping(self) -> None:
        """Raises GraphUnavailable."""
        await self._graph.ping()

    async def around(self, scope: Scope, entity_ids: Sequence[str], *, hops: int = 1, limit: int = 50) -> Neighbourhood:
        starts = await self._tables.entities(scope, entity_ids)
        records = await self._graph.answer(
            _AROUND.format(hops=min(max(hops, 1), MAX_HOPS)),
            starts=[entity.id for entity in starts],
            groups=groups_of(scope),
            limit=limit * SPARE,
        )
        found = await self._tables.visible(scope, [record["id"] for record in records])
        return neighbourhood(starts, found[:limit])

    async def path(self, scope: Scope, start: str, end: str, *, hops: int = 4) -> Neighbourhood:
        ends = await self._tables.entities(scope, [start, end])
        if len(ends) < 2:
            return Neighbourhood((), ())
        start, end = ends[0].id, ends[1].id
        not_seen: list[str] = []
        query = _PATH.format(hops=min(max(hops, 1), MAX_HOPS))
        for _ in range(ATTEMPTS):
            records = await self._graph.answer(query, start=start, end=end, groups=groups_of(scope), not_seen=not_seen)
            if not records:
                return Neighbourhood((), ())
            ids = list(records[0]["ids"])
            seen = {fact.id for fact in await self._tables.visible(scope, ids)}
            if seen >= set(ids):
                return await self._tables.along(scope, start, ids)
            not_seen += [identifier for identifier in ids if identifier not in seen]
        return await self._tables.path(scope, start, end, hops=hops)
