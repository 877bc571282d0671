"""Facts and entities in Qdrant Edge: the same answers as from the tables, and whole again after whatever happened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from aegis.database import Database
from aegis.database.outbox import Outbox, append, outbox
from aegis.scope import DEFAULT_COLLECTION, Scope, group_id
from aegis.settings import EdgeSettings
from memory.facts import tables as t
from memory.facts.driver import open_graphiti
from memory.facts.index import FactIndex
from memory.facts.points import FIELDS, FactPoints
from memory.facts.rows import tell_graph
from memory.facts.store import FactStore
from memory.facts.writing import GraphWriter
from retrieval.embedding.wordllama import load_wordllama
from retrieval.ingestion.versions import VISIBILITY_TOPIC
from retrieval.keywords import KeywordEncoder
from retrieval.projection import VectorProjection
from retrieval.store.edge import EdgeStore, open_edge
from retrieval.tables import NEVER, versions
from tests.memory.facts.test_driver import Scripted
from tests.memory.library import NOW, Library

SCOPE = Scope("local")
START = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass
class World:
    library: Library
    box: Outbox
    store: EdgeStore
    index: FactIndex
    filling: VectorProjection
    found: FactStore  # through the index
    scanned: FactStore  # in the tables

    async def settled(self) -> None:
        self.box.wake()
        await self.filling.caught_up()
        assert await self.filling.verify()

    async def whole(self) -> None:
        while not self.filling.complete:  # noqa: ASYNC110 - it says so by a property only
            await asyncio.sleep(0.01)
        assert await self.filling.verify()


@asynccontextmanager
async def opened(database: Database, folder: Path, *, running: bool = True) -> AsyncGenerator[World]:
    embedder, keywords, box, library = load_wordllama(), KeywordEncoder(), Outbox(database), Library(database)
    async with open_edge(EdgeSettings(), folder / "facts", embedder.dimensions, fields=FIELDS) as store:
        points = FactPoints(database, store, embedder, keywords)
        filling = VectorProjection(box, points, None, lambda: datetime.now(UTC))
        index = FactIndex(store, embedder, keywords, lambda: filling.complete)
        stores = FactStore(database, library.catalogue, embedder, index), FactStore(database, library.catalogue)
        world = World(library, box, store, index, filling, *stores)
        if not running:
            yield world
            return
        async with filling.running(), asyncio.timeout(60):
            yield world


@pytest.fixture
async def world(any_database: Database, tmp_path: Path) -> AsyncGenerator[World]:
    async with opened(any_database, tmp_path) as made:
        yield made


def _only_index(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever goes to the tables for candidates fails."""

    async def refuse(*_: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(world.found, "_scanned", refuse)


async def test_at_every_epoch_and_time_the_index_finds_what_the_tables_find(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(3)
    things = ("Blue Glass", "Red Stone", "Grey Sand", "Old Iron")
    for number in range(14):
        thing = random.choice(things)
        text = f"Orion Labs uses {thing}. {thing} depends on Green Wood{number % 3}."
        await world.library.put(f"D{number}", text, source=f"{number}")
    await world.library.put("Pending", "Orion Labs uses Wet Clay.")
    await world.library.raise_epoch(7)
    await world.settled()
    database = world.library.database
    async with database.write() as connection:
        ids = [row[0] for row in await connection.execute(select(t.facts.c.id))]
        documents = [
            row[0] for row in await connection.execute(select(versions.c.id).order_by(versions.c.title.desc()))
        ]
        documents = documents[1:] + documents[:1]  # what is not published yet stands last
        for place, identifier in enumerate(documents):
            begins = random.randrange(6) if place < 14 else NEVER
            until = random.choice((NEVER, begins + 1 + random.randrange(3))) if place < 14 else NEVER
            epochs = {"visible_from": begins, "visible_until": until}
            await connection.execute(update(versions).where(versions.c.id == identifier).values(**epochs))
            dated = random.choice((None, START + timedelta(days=random.randrange(900))))
            await connection.execute(update(versions).where(versions.c.id == identifier).values(dated=dated))
        for identifier in ids:
            begins = random.choice((None, START + timedelta(days=random.randrange(600))))
            ends = random.choice((None, (begins or START) + timedelta(days=1 + random.randrange(600))))
            learnt = random.choice((None, ends)) if ends else None
            times = {"valid_at": begins, "invalid_at": ends, "expired_at": learnt}
            await connection.execute(update(t.facts).where(t.facts.c.id == identifier).values(**times))
        await append(connection, VISIBILITY_TOPIC, [{"version": identifier} for identifier in documents])
        await tell_graph(connection, facts=ids)
    await world.settled()
    _only_index(world, monkeypatch)
    met: set[str] = set()
    for query in ("What does Orion Labs use?", "Blue Glass and Red Stone", "Green Wood1 of Old Iron, Grey Sand"):
        for epoch in (None, *range(8)):
            for day in (None, -5, 100, 300, 599, 900):
                as_of = None if day is None else START + timedelta(days=day)
                for known in (None, START + timedelta(days=400)):
                    asked: dict[str, Any] = {"limit": 100, "epoch": epoch, "as_of": as_of, "known": known}
                    found = {hit.fact.id: hit.fact for hit in await world.found.search(SCOPE, query, **asked)}
                    wanted = {hit.fact.id: hit.fact for hit in await world.scanned.search(SCOPE, query, **asked)}
                    assert found == wanted, (query, asked)
                    met |= found.keys()
    assert len(met) >= 8  # the questions do meet facts
    assert "Wet Clay" not in {hit.fact.target.name for hit in await world.found.search(SCOPE, "Orion Labs", limit=100)}


async def test_facts_hidden_between_two_epochs_do_not_crowd_out_those_that_are_seen(world: World) -> None:
    for number in range(150):  # seen at epochs 0 and 2, not at 1
        text = f"Orion Labs uses Blue Glass{number}."
        await world.library.put("Back", text, visible=(0, 1), source=f"{number}")
        await world.library.put("Back", text, visible=(2, NEVER), source=f"{number}")
    await world.library.put("There", "Orion Labs was a company in Lisbon until it uses Grey Sand.")
    await world.library.raise_epoch(2)
    await world.settled()
    (only,) = await world.found.search(SCOPE, "Which Blue Glass does Orion Labs use?", epoch=1, limit=5)
    assert "Grey Sand" in only.fact.text
    assert len(await world.found.search(SCOPE, "Which Blue Glass does Orion Labs use?", limit=5)) == 5


async def test_what_nothing_proves_any_more_goes_and_what_something_still_does_stays(world: World) -> None:
    (first,) = await world.library.put("One", "Orion Labs uses Blue Glass.", visible=(0, 3))
    await world.library.put("One", "Orion Labs uses Blue Glass. Nothing else.", visible=(5, NEVER))
    await world.library.raise_epoch(6)
    await world.settled()
    version = await world.library.version_of(first)
    async with world.library.database.write() as connection:
        await GraphWriter().remove(connection, version)
    await world.settled()  # its epochs are others now
    assert await world.found.search(SCOPE, "Orion Labs", epoch=2) == []
    assert len(await world.found.search(SCOPE, "Orion Labs")) == 1


async def test_lost_rows_and_an_emptied_store_are_made_good_at_the_next_start(
    database: Database, tmp_path: Path
) -> None:
    async with opened(database, tmp_path) as world:
        await world.library.put("One", "Orion Labs uses Blue Glass.")
        await world.settled()
    await Library(database).put("Two", "Orion Labs uses Red Stone.")
    async with database.write() as connection:  # as if killed in between, and the outbox shortened
        await connection.execute(delete(outbox))
    async with opened(database, tmp_path) as world:
        for _ in range(3):
            assert len(await world.found.search(SCOPE, "Orion Labs")) == 2  # the tables answer meanwhile
        await world.whole()
        await world.store.reset("the disk was swapped")
        assert not world.filling.complete
        assert len(await world.found.search(SCOPE, "Orion Labs")) == 2
        await world.whole()


async def test_files_that_are_damaged_are_made_anew(database: Database, tmp_path: Path) -> None:
    async with opened(database, tmp_path) as world:
        await world.library.put("One", "Orion Labs uses Blue Glass.")
        await world.settled()
    for file in (tmp_path / "facts").rglob("*"):
        if file.is_file() and file.stat().st_size > 1000:
            file.write_bytes(b"\x00" * file.stat().st_size)
    async with opened(database, tmp_path) as world:
        assert world.store.was_reset
        await world.whole()
        assert len(await world.found.search(SCOPE, "Orion Labs")) == 1


async def test_an_index_out_of_reach_leaves_it_to_the_tables(database: Database, tmp_path: Path) -> None:
    async with opened(database, tmp_path) as world:
        await world.library.put("One", "Orion Labs uses Blue Glass.")
        await world.settled()
        await world.store.close()
        assert len(await world.found.search(SCOPE, "Orion Labs")) == 1


async def test_graphitis_searches_are_answered_from_the_index(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.library.put("One", "Orion Labs uses Blue Glass. Red Stone depends on Grey Sand.")
    await world.library.put("Board", "Orion Labs uses Secret Sauce.", collection="board")
    await world.settled()
    catalogue, group = world.library.catalogue, group_id("d", DEFAULT_COLLECTION)
    asked: list[str] = []
    query = world.store.query

    async def noted(request: Any) -> Any:
        asked.append("words" if request.dense is None else "vector")
        return await query(request)

    monkeypatch.setattr(world.store, "query", noted)
    async with open_graphiti(
        world.library.database, catalogue, Scripted(), world.index.embedder, index=world.index
    ) as graphiti:
        found = await graphiti.search("which company uses glass?", group_ids=[group])  # no name of an entity
        assert found[0].fact == "Orion Labs uses Blue Glass."
        assert "Secret" not in str([edge.fact for edge in found])
        assert set(asked) == {"words", "vector"}
        search: Any = graphiti.driver.search_interface
        (node, *_) = await search.node_fulltext_search(None, "glass", None, [group])
        assert node.name == "Blue Glass"
        vector = (await world.index.embedder.embed(["Grey Sand"]))[0].tolist()
        (node, *_) = await search.node_similarity_search(None, vector, None, [group])
        assert node.name == "Grey Sand"
        assert await search.node_fulltext_search(None, "secret sauce", None, [group]) == []


async def test_graphitis_conditions_on_dates_are_kept_in_the_index(world: World) -> None:
    from graphiti_core.search.search_filters import ComparisonOperator, DateFilter, SearchFilters

    await world.library.put("One", "Orion Labs uses Blue Glass. Orion Labs uses Red Stone. Orion Labs uses Grey Sand.")
    database = world.library.database
    async with database.write() as connection:
        ids = [row[0] for row in await connection.execute(select(t.facts.c.id).order_by(t.facts.c.text))]
        for place, identifier in enumerate(ids[:2]):
            times = {"valid_at": NOW + timedelta(days=place)}
            await connection.execute(update(t.facts).where(t.facts.c.id == identifier).values(**times))
        await tell_graph(connection, facts=ids)
    await world.settled()

    async def found(*groups: list[tuple[ComparisonOperator, datetime | None]]) -> set[str]:
        wanted = [[DateFilter(date=day, comparison_operator=how) for how, day in group] for group in groups]
        async with open_graphiti(
            database, world.library.catalogue, Scripted(), world.index.embedder, index=world.index
        ) as graphiti:
            search: Any = graphiti.driver.search_interface
            group = [group_id("d", DEFAULT_COLLECTION)]
            edges = await search.edge_fulltext_search(None, "Orion Labs", SearchFilters(valid_at=wanted), group)
            return {edge.uuid for edge in edges}

    after, upto, none = (
        ComparisonOperator.greater_than,
        ComparisonOperator.less_than_equal,
        ComparisonOperator.is_null,
    )
    assert await found([(upto, NOW)]) == {ids[0]}
    assert await found([(after, NOW)]) == {ids[1]}
    assert await found([(after, NOW), (upto, NOW)]) == set()
    assert await found([(none, None)], [(upto, NOW)]) == {ids[0], ids[2]}
