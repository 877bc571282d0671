"""Neighbourhoods and paths: from the tables, and from a real Neo4j filled through the outbox."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aegis.database import Database
from aegis.database.outbox import Outbox
from aegis.errors import GraphUnavailable
from aegis.scope import DEFAULT_COLLECTION, Scope, group_id
from aegis.settings import Neo4jSettings
from memory.facts import Neighbourhood, Neighbourhoods
from memory.facts.merging import merge, separate
from memory.facts.neighbourhoods import RelationalNeighbourhoods
from memory.facts.neo4j import Neo4jGraph, Neo4jNeighbourhoods, Neo4jProjection, open_neo4j
from memory.facts.projection import GraphProjection
from memory.facts.rows import TOPIC
from memory.facts.store import FactStore, project_again
from memory.facts.writing import GraphWriter
from retrieval.tables import NEVER
from tests.memory.library import Library
from tests.servers import free_port
from tests.servers.fixtures import fresh_store

SCOPE = Scope("local")
CHAIN = "Alpha One uses Beta Two. Beta Two uses Gamma Three. Gamma Three uses Delta Four."


@dataclass
class Subject:
    library: Library
    neighbourhoods: Neighbourhoods
    projection: Neo4jProjection | None = None

    async def settle(self) -> None:
        """Let the graph hear of everything. Each row twice: a crash may do that."""
        if self.projection is not None:
            rows = await Outbox(self.library.database).pending([TOPIC], 0, 1000)
            await self.projection.apply(rows)
            await self.projection.apply(rows[-3:])

    async def ids(self, *names: str, scope: Scope = SCOPE) -> list[str]:
        store = FactStore(self.library.database, self.library.catalogue)
        found = {entity.name: entity.id for entity in await store.entities_named(scope, names)}
        return [found[name] for name in names]


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgres", marks=pytest.mark.servers),
        pytest.param("neo4j", marks=pytest.mark.servers),
    ]
)
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Subject]:
    engine = "postgres" if request.param == "postgres" else "sqlite"
    async with fresh_store(engine, request, tmp_path) as database:
        library = Library(database)
        tables = RelationalNeighbourhoods(database, library.catalogue)
        if request.param != "neo4j":
            yield Subject(library, tables)
            return
        url = request.getfixturevalue("neo4j_url")
        async with open_neo4j(Neo4jSettings(kind="neo4j", url=url, user="", timeout=20)) as graph:
            await graph.ask("MATCH (node) DETACH DELETE node")
            yield Subject(library, Neo4jNeighbourhoods(graph, tables), Neo4jProjection(graph, database))


def names(found: Neighbourhood) -> list[str]:
    return sorted(entity.name for entity in found.entities)


async def test_around(subject: Subject) -> None:
    await subject.library.put("Chain", CHAIN)
    await subject.settle()
    start = await subject.ids("Alpha One")
    near = await subject.neighbourhoods.around(SCOPE, start)
    assert names(near) == ["Alpha One", "Beta Two"]
    assert [fact.text for fact in near.facts] == ["Alpha One uses Beta Two."]
    assert near.facts[0].evidence[0].quote == "Alpha One uses Beta Two."
    far = await subject.neighbourhoods.around(SCOPE, start, hops=2)
    assert names(far) == ["Alpha One", "Beta Two", "Gamma Three"]
    assert len((await subject.neighbourhoods.around(SCOPE, start, hops=6, limit=2)).facts) == 2
    assert await subject.neighbourhoods.around(SCOPE, ["x" * 36]) == Neighbourhood((), ())


async def test_path(subject: Subject) -> None:
    await subject.library.put("Chain", CHAIN)
    await subject.settle()
    alpha, beta, gamma, delta = await subject.ids("Alpha One", "Beta Two", "Gamma Three", "Delta Four")
    found = await subject.neighbourhoods.path(SCOPE, alpha, delta)
    assert found.path == (alpha, beta, gamma, delta)
    assert [fact.source.name for fact in found.facts] == ["Alpha One", "Beta Two", "Gamma Three"]
    back = await subject.neighbourhoods.path(SCOPE, gamma, alpha)
    assert back.path == (gamma, beta, alpha)
    assert (await subject.neighbourhoods.path(SCOPE, alpha, delta, hops=2)).path == ()
    assert (await subject.neighbourhoods.path(SCOPE, alpha, "x" * 36)).path == ()


async def test_what_is_hidden_is_no_step(subject: Subject) -> None:
    """A shorter path through another collection, or one not yet published, is not taken and not shown."""
    await subject.library.put("Chain", CHAIN)
    await subject.library.put("Board", "Alpha One owns Delta Four.", collection="board")
    await subject.library.put("Later", "Alpha One needs Delta Four.", visible=(0, 0))
    await subject.settle()
    alpha, delta = await subject.ids("Alpha One", "Delta Four")
    found = await subject.neighbourhoods.path(SCOPE, alpha, delta)
    assert len(found.path) == 4
    around = await subject.neighbourhoods.around(SCOPE, [alpha], hops=3)
    assert len(around.facts) == 3
    board = Scope("ceo", frozenset({"board"}))
    assert await subject.neighbourhoods.around(board, [alpha]) == Neighbourhood((), ())
    assert (await subject.neighbourhoods.path(board, alpha, delta)).path == ()


async def test_publication_is_seen_at_once(subject: Subject) -> None:
    await subject.library.put("A", "Alpha One uses Beta Two.", visible=(0, 5))
    await subject.library.put("A", "Alpha One uses Gamma Three.", visible=(5, NEVER))
    await subject.settle()
    start = await subject.ids("Alpha One")
    assert names(await subject.neighbourhoods.around(SCOPE, start)) == ["Alpha One", "Beta Two"]
    await subject.library.raise_epoch(5)
    assert names(await subject.neighbourhoods.around(SCOPE, start)) == ["Alpha One", "Gamma Three"]


async def test_deletions_reach_the_graph(subject: Subject) -> None:
    await subject.library.put("Chain", CHAIN)
    (gone,) = await subject.library.put("Short", "Alpha One needs Delta Four. Omega Nine uses Alpha One.")
    await subject.settle()
    alpha, delta = await subject.ids("Alpha One", "Delta Four")
    assert len((await subject.neighbourhoods.path(SCOPE, alpha, delta)).path) == 2
    version = await subject.library.version_of(gone)
    async with subject.library.database.write() as connection:
        await GraphWriter().remove(connection, version)
    assert len((await subject.neighbourhoods.path(SCOPE, alpha, delta)).path) == 4  # before the graph has heard
    await subject.settle()
    assert len((await subject.neighbourhoods.path(SCOPE, alpha, delta)).path) == 4
    assert "Omega Nine" not in names(await subject.neighbourhoods.around(SCOPE, [alpha]))


async def test_entities_that_are_one_are_one_step(subject: Subject) -> None:
    await subject.library.put("Chain", CHAIN)
    await subject.library.put("Spelt", "BetaTwo owns Omega Nine.")
    await subject.settle()
    alpha, beta, other, omega = await subject.ids("Alpha One", "Beta Two", "BetaTwo", "Omega Nine")
    assert (await subject.neighbourhoods.path(SCOPE, alpha, omega)).path == ()
    async with subject.library.database.write() as connection:
        await merge(connection, group_id("d", DEFAULT_COLLECTION), other, beta, datetime(2026, 1, 1, tzinfo=UTC))
    await subject.settle()
    assert (await subject.neighbourhoods.path(SCOPE, alpha, omega)).path == (alpha, beta, omega)
    for start in (beta, other):
        near = await subject.neighbourhoods.around(SCOPE, [start])
        assert names(near) == ["Alpha One", "Beta Two", "Gamma Three", "Omega Nine"]
        assert len(near.facts) == 3
    async with subject.library.database.write() as connection:
        await separate(connection, other)
    await subject.settle()
    assert (await subject.neighbourhoods.path(SCOPE, alpha, omega)).path == ()
    assert names(await subject.neighbourhoods.around(SCOPE, [other])) == ["BetaTwo", "Omega Nine"]
    if subject.projection is not None:
        graph = GraphProjection(
            subject.library.database, Outbox(subject.library.database), subject.projection, None, now
        )
        assert await graph.verify()


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.servers
async def test_neo4j_holds_exactly_the_facts(database: Database, neo4j_url: str) -> None:
    library = Library(database)
    async with open_neo4j(Neo4jSettings(kind="neo4j", url=neo4j_url, user="", timeout=20)) as graph:
        await graph.ask("MATCH (node) DETACH DELETE node")
        subject = Subject(library, RelationalNeighbourhoods(database, library.catalogue))
        subject.projection = Neo4jProjection(graph, database)
        (chunk,) = await library.put("Chain", CHAIN)
        await subject.settle()
        assert await held(graph) == (5, 3)
        await graph.ask("MATCH (node) DETACH DELETE node")
        before = await Outbox(database).last([TOPIC])
        assert [count async for count in project_again(database)]
        await subject.projection.apply(await Outbox(database).pending([TOPIC], before, 100))
        assert await held(graph) == (5, 3)
        version = await library.version_of(chunk)
        async with database.write() as connection:
            await GraphWriter().remove(connection, version)
        await subject.settle()
        assert await held(graph) == (0, 0)


async def held(graph: Neo4jGraph) -> tuple[int, int]:
    nodes = await graph.ask("MATCH (node:Entity) RETURN count(node) AS n")
    edges = await graph.ask("MATCH ()-[edge:RELATES_TO]->() RETURN count(edge) AS n")
    return nodes[0]["n"], edges[0]["n"]


async def test_neo4j_away_is_graph_unavailable(database: Database) -> None:
    library = Library(database)
    await library.put("Chain", CHAIN)
    settings = Neo4jSettings(kind="neo4j", url=f"bolt://127.0.0.1:{free_port()}", timeout=1)
    async with open_neo4j(settings) as graph:
        found = Neo4jNeighbourhoods(graph, RelationalNeighbourhoods(database, library.catalogue))
        with pytest.raises(GraphUnavailable, match="Neo4j does not answer"):
            await found.around(SCOPE, ["x"])
        with pytest.raises(GraphUnavailable):
            await graph.ping()
