"""The facts port: a fake, and the relational store on SQLite and PostgreSQL. And what only the store does."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Table, func, select, update

from aegis.database import Database
from aegis.database.outbox import Outbox
from aegis.errors import NotFound
from aegis.scope import DEFAULT_COLLECTION, Scope
from memory.extraction import Extract
from memory.facts import Facts
from memory.facts import tables as t
from memory.facts.rows import TOPIC
from memory.facts.store import FactStore, project_again
from memory.facts.writing import GraphWriter
from retrieval.embedding.wordllama import load_wordllama
from retrieval.tables import NEVER
from tests.memory.facts.fakes import FakeFacts
from tests.memory.library import Library
from tests.servers.fixtures import fresh_store

SCOPE = Scope("local")
TABLES = (t.entities, t.aliases, t.facts, t.episodes, t.mentions, t.evidence, t.homes)


@dataclass
class Subject:
    """Something that holds facts, and how a document gets there."""

    facts: Facts
    home: Library | FakeFacts

    async def put(
        self,
        title: str,
        text: str,
        collection: str = DEFAULT_COLLECTION,
        visible: tuple[int, int] = (0, NEVER),
    ) -> None:
        if isinstance(self.home, FakeFacts):
            self.home.put(title, text, collection, visible)
        else:
            await self.home.put(title, text, collection=collection, visible=visible)

    async def raise_epoch(self, value: int) -> None:
        if isinstance(self.home, FakeFacts):
            self.home.epoch = value
        else:
            await self.home.raise_epoch(value)


@pytest.fixture(params=["fake", "sqlite", pytest.param("postgres", marks=pytest.mark.servers)])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Subject]:
    if request.param == "fake":
        fake = FakeFacts()
        yield Subject(fake, fake)
        return
    async with fresh_store(request.param, request, tmp_path) as database:
        library = Library(database)
        yield Subject(FactStore(database, library.catalogue), library)


async def test_facts_about_named_entities(subject: Subject) -> None:
    text = "Orion Labs uses Blue Glass. Nobody else does that. Red Stone depends on Grey Sand."
    await subject.put("Notes", text)
    found = await subject.facts.search(SCOPE, "which glass does orion labs use?")
    assert [scored.fact.text for scored in found] == ["Orion Labs uses Blue Glass."]
    fact = found[0].fact
    assert (fact.source.name, fact.relation, fact.target.name) == ("Orion Labs", "USES", "Blue Glass")
    assert (fact.valid_at, fact.invalid_at) == (None, None)
    (proof,) = fact.evidence
    assert text[proof.span.start : proof.span.end] == proof.quote == "Orion Labs uses Blue Glass."
    assert await subject.facts.fact(SCOPE, fact.id) == fact


async def test_scopes_never_mix(subject: Subject) -> None:
    await subject.put("A", "Orion Labs uses Blue Glass.")
    await subject.put("B", "Orion Labs uses Secret Sauce.", collection="board")
    board = Scope("ceo", frozenset({"board"}))
    for scope, expected in ((SCOPE, "Blue Glass"), (board, "Secret Sauce")):
        found = await subject.facts.search(scope, "Orion Labs Secret Sauce Blue Glass")
        assert [scored.fact.target.name for scored in found] == [expected]
        assert await subject.facts.totals(scope) == (2, 1) or await subject.facts.totals(scope) == (3, 1)
        assert len(await subject.facts.entities_named(scope, ["ORION labs"])) == 1
    (hidden,) = await subject.facts.search(board, "Orion Labs")
    with pytest.raises(NotFound):
        await subject.facts.fact(SCOPE, hidden.fact.id)
    nobody = Scope("nobody", frozenset())
    assert await subject.facts.search(nobody, "Orion Labs") == []
    assert await subject.facts.totals(nobody) == (0, 0)


async def test_epoch_selects_what_was_known(subject: Subject) -> None:
    await subject.put("A", "Orion Labs uses Blue Glass.", visible=(0, 3))
    await subject.put("A", "Orion Labs uses Green Glass.", visible=(3, NEVER))
    now = await subject.facts.search(SCOPE, "Orion Labs")
    assert [scored.fact.target.name for scored in now] == ["Blue Glass"]
    assert await subject.facts.entities_named(SCOPE, ["Green Glass"]) == []
    await subject.raise_epoch(3)
    for epoch, expected in ((0, "Blue Glass"), (2, "Blue Glass"), (3, "Green Glass"), (9, "Green Glass")):
        found = await subject.facts.search(SCOPE, "Orion Labs", epoch=epoch)
        assert [scored.fact.target.name for scored in found] == [expected]


async def test_nothing_named_nothing_found(subject: Subject) -> None:
    await subject.put("A", "Orion Labs uses Blue Glass.")
    assert await subject.facts.search(SCOPE, "") == []
    assert await subject.facts.search(SCOPE, "how are you today?") == []
    assert await subject.facts.search(SCOPE, "'; DROP TABLE facts; -- " * 500) == []
    with pytest.raises(NotFound):
        await subject.facts.fact(SCOPE, "x" * 36)


async def test_pages(subject: Subject) -> None:
    for number in range(5):
        await subject.put(f"Doc {number}", f"Orion Labs uses Glass Number{number}.")
    await subject.put("Hidden", "Orion Labs uses Secret Sauce.", collection="board")
    first = await subject.facts.page(SCOPE, limit=3)
    rest = await subject.facts.page(SCOPE, after=first[-1].id, limit=3)
    ids = [fact.id for fact in (*first, *rest)]
    assert len(ids) == 5
    assert ids == sorted(set(ids))


async def rows_of(database: Database) -> dict[str, int]:
    async def count(table: Table) -> int:
        async with database.read() as connection:
            return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())

    return {table.name: await count(table) for table in TABLES}


async def test_writing_twice_changes_nothing(any_database: Database) -> None:
    library = Library(any_database)
    (chunk,) = await library.put("Notes", "Orion Labs (OL) uses Blue Glass. OL depends on Grey Sand.")
    before = await rows_of(any_database)
    assert all(before.values())
    extracts = library.extracts[chunk]
    version = await library.version_of(chunk)
    await any_database.transact(GraphWriter().writing(DEFAULT_COLLECTION, "d", version, [chunk], extracts))
    assert await rows_of(any_database) == before
    store = FactStore(any_database, library.catalogue)
    assert [entity.name for entity in await store.entities_named(SCOPE, ["OL"])] == ["Orion Labs"]


async def test_a_fact_goes_with_its_last_evidence(any_database: Database) -> None:
    library = Library(any_database)
    (first,) = await library.put("One", "Orion Labs uses Blue Glass.")
    (second,) = await library.put("Two", "Orion Labs uses Blue Glass. Red Stone depends on Grey Sand.")
    store = FactStore(any_database, library.catalogue)
    (shared,) = await store.search(SCOPE, "Blue Glass")
    assert len(shared.fact.evidence) == 2
    for chunk, left in ((second, 1), (first, 0)):
        version = await library.version_of(chunk)
        async with any_database.write() as connection:
            await GraphWriter().remove(connection, version)
        assert len(await store.search(SCOPE, "Blue Glass")) == left
        assert await store.search(SCOPE, "Red Stone") == []
    assert set((await rows_of(any_database)).values()) == {0}
    last = [row.payload for row in await Outbox(any_database).pending([TOPIC], 0, 100)][-2:]
    assert last[0] == {"gone_facts": [shared.fact.id]}
    assert shared.fact.source.id in last[1]["gone_entities"]


async def test_as_of_and_superseded(any_database: Database) -> None:
    library = Library(any_database)
    await library.put("A", "Orion Labs uses Blue Glass.")
    store = FactStore(any_database, library.catalogue)
    (found,) = await store.search(SCOPE, "Orion Labs")
    start, end = datetime(2020, 1, 1, tzinfo=UTC), datetime(2022, 1, 1, tzinfo=UTC)
    async with any_database.write() as connection:
        await connection.execute(update(t.facts).values(valid_at=start, invalid_at=end, expired_at=end))
    assert await store.search(SCOPE, "Orion Labs") == []
    for moment, seen in ((2019, 0), (2021, 1), (2023, 0)):
        at = datetime(moment, 6, 1, tzinfo=UTC)
        assert len(await store.search(SCOPE, "Orion Labs", as_of=at)) == seen
    assert (await store.fact(SCOPE, found.fact.id)).invalid_at == end


async def test_embedding_breaks_ties(database: Database) -> None:
    library = Library(database)
    await library.put("A", "Orion Labs baked bread for Tom Hill. Orion Labs repaired a vehicle for Ann Hay.")
    store = FactStore(database, library.catalogue, load_wordllama())
    found = await store.search(SCOPE, "Which car did Orion Labs mend?")
    assert "vehicle" in found[0].fact.text


async def test_project_again_names_everything_once(any_database: Database) -> None:
    library = Library(any_database)
    for number in range(30):
        await library.put(f"Doc {number}", f"Orion Labs uses Glass Number{number}.")
    outbox = Outbox(any_database)
    before = await outbox.last([TOPIC])
    done = [count async for count in project_again(any_database)]
    rows = await outbox.pending([TOPIC], before, 100)
    names = [identifier for row in rows for ids in row.payload.values() for identifier in ids]
    counts = await rows_of(any_database)
    assert len(names) == len(set(names)) == done[-1] == counts["entities"] + counts["facts"]


async def test_facts_by_the_place_that_states_them(any_database: Database) -> None:
    library = Library(any_database)
    text = "Orion Labs uses Blue Glass. Orion Labs is located in Bern."
    (chunk,) = await library.put("Notes", text)
    facts = FactStore(any_database, library.catalogue)
    second = text.index("Orion", 1)

    async def stated(scope: Scope, *places: tuple[str, int, int]) -> list[str]:
        return [fact.text for fact in await facts.stated_at(scope, places)]

    seen = Scope("local")
    assert await stated(seen, (chunk, 0, 10)) == ["Orion Labs uses Blue Glass."]
    assert await stated(seen, (chunk, second, len(text)), (chunk, 0, 5)) == [
        "Orion Labs is located in Bern.",
        "Orion Labs uses Blue Glass.",
    ]
    assert await stated(seen, (chunk, len(text), len(text) + 9), ("nowhere", 0, 99)) == []
    assert await stated(Scope("eve", frozenset({"board"})), (chunk, 0, len(text))) == []


async def test_a_chunk_that_names_nothing_tells_the_index_nothing(any_database: Database) -> None:
    library = Library(any_database)
    (chunk,) = await library.put("notes.txt", "and so on, and so on.")
    version = await library.version_of(chunk)
    outbox = Outbox(any_database)
    before = await outbox.last([TOPIC])
    await any_database.transact(GraphWriter().writing(DEFAULT_COLLECTION, "d", version, [chunk], [Extract()]))
    assert await outbox.last([TOPIC]) == before
