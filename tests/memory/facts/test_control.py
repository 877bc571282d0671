"""People correct, confirm and forbid facts, take it back, and nobody else's."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import pytest

from aegis.database import Database
from aegis.database.outbox import Outbox
from aegis.errors import Conflict, Forbidden, InvalidInput, NotFound
from aegis.scope import Scope, new_id
from memory.facts import Fact
from memory.facts.control import Correction, FactControl
from memory.facts.learning import Said, learn
from memory.facts.store import FactStore
from memory.facts.writing import GraphWriter
from memory.statements import statements
from tests.memory.library import Library

ANN, BOB = Scope("ann"), Scope("bob")
DAY = datetime(2024, 1, 5, 12, tzinfo=UTC)


class World:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.library = Library(database)
        self.facts = FactStore(database, self.library.catalogue)
        self.evicted: list[str] = []
        self.control = FactControl(database, self.facts, Outbox(database), lambda: DAY + timedelta(days=50), self)

    async def evict(self, sources: Collection[str]) -> int:
        self.evicted += sources
        return len(sources)

    async def say(self, text: str, days: int = 0, scope: Scope = ANN) -> None:
        at = DAY + timedelta(days=days)
        async with self.database.write() as connection:
            await learn(connection, Said(new_id(), "c", scope.user, text, at), statements(text, at))

    async def about(self, query: str, scope: Scope = ANN) -> list[Fact]:
        return [scored.fact for scored in await self.facts.search(scope, query)]

    async def names(self, query: str, scope: Scope = ANN) -> list[str]:
        return sorted(fact.target.name for fact in await self.about(query, scope))


@pytest.fixture
def world(any_database: Database) -> World:
    return World(any_database)


async def test_a_corrected_fact_is_not_learnt_again_from_the_same_words(world: World) -> None:
    await world.say("I live in Bern.")
    (wrong,) = await world.about("Where do I live?")
    right = await world.control.correct(ANN, wrong.id, Correction(target="Basel"))
    assert (right.text, right.target.name, right.confirmed) == ("I live in Basel.", "Basel", True)
    assert right.evidence[0].quote == "I live in Bern."  # what was said is not rewritten
    await world.say("I live in Bern.", 1)
    assert await world.names("Where do I live?") == ["Basel"]
    with pytest.raises(NotFound):
        await world.facts.fact(ANN, wrong.id)


async def test_answers_that_rest_on_a_changed_fact_go_at_once(world: World) -> None:
    await world.say("I live in Bern.")
    (wrong,) = await world.about("Where do I live?")
    right = await world.control.correct(ANN, wrong.id, Correction(target="Basel"))
    assert world.evicted == [wrong.id]
    await world.control.forbid(ANN, right.id)
    assert world.evicted[1:] == [right.id]
    with pytest.raises(NotFound):
        await world.control.forbid(ANN, wrong.id)
    assert world.evicted[2:] == []


async def test_a_corrected_fact_of_a_document_stays_corrected_when_it_is_read_again(world: World) -> None:
    (chunk,) = await world.library.put("Notes", "Orion Labs uses Blue Glass.")
    (wrong,) = await world.about("Orion Labs")
    await world.control.correct(ANN, wrong.id, Correction(target="Red Glass", text="Orion Labs uses Red Glass."))
    version = await world.library.version_of(chunk)
    extracts = world.library.extracts[chunk]
    await world.database.transact(GraphWriter().writing("default", "d", version, [chunk], extracts))
    assert await world.names("Orion Labs") == ["Red Glass"]
    async with world.database.write() as connection:
        await GraphWriter().remove(connection, version)
    assert await world.names("Orion Labs Red Glass") == []  # it stood on the document's evidence, and goes with it
    assert await world.control.history(ANN) == []


async def test_forbidden_and_taken_back(world: World) -> None:
    await world.say("I live in Bern.")
    await world.say("I moved to Basel.", 5)
    (now,) = await world.about("Where do I live?")
    await world.control.forbid(ANN, now.id, "I never moved.")
    assert await world.names("Where do I live?") == ["Bern"]  # what it had ended holds again
    await world.say("I moved to Basel.", 6)
    assert await world.names("Where do I live?") == ["Bern"]
    change = next(one for one in await world.control.history(ANN) if one.kind == "forbidden")
    assert (change.reason, change.by) == ("I never moved.", "ann")
    await world.control.undo(ANN, change.id)
    assert "Basel" in await world.names("Where do I live?")
    with pytest.raises(Conflict):
        await world.control.undo(ANN, change.id)


async def test_a_supersession_is_undone_for_good(world: World) -> None:
    await world.say("I live in Bern.")
    await world.say("I live in Basel.", 5)
    (change,) = await world.control.history(ANN)
    assert (change.kind, change.by) == ("superseded", "rule")
    assert "I live in Basel." in change.reason
    await world.control.undo(ANN, change.id)
    assert await world.names("Where do I live?") == ["Basel", "Bern"]
    await world.say("I live in Basel.", 6)
    assert await world.names("Where do I live?") == ["Basel", "Bern"]


async def test_confirmed(world: World) -> None:
    await world.say("I live in Bern.")
    (fact,) = await world.about("Where do I live?")
    assert (await world.control.confirm(ANN, fact.id)).confirmed
    assert (await world.control.confirm(ANN, fact.id)).confirmed
    (change,) = await world.control.history(ANN, fact_id=fact.id)
    await world.control.undo(ANN, change.id)
    assert not (await world.facts.fact(ANN, fact.id)).confirmed


async def test_nobody_elses(world: World) -> None:
    await world.say("I live in Bern.")
    await world.library.put("Notes", "Orion Labs uses Blue Glass.")
    (own,) = await world.about("Where do I live?")
    (shared,) = await world.about("Orion Labs")
    await world.control.confirm(ANN, own.id)
    (change,) = await world.control.history(ANN)
    for attempt in (
        lambda: world.control.forbid(BOB, own.id),
        lambda: world.control.confirm(BOB, own.id),
        lambda: world.control.correct(BOB, own.id, Correction(target="Rome")),
        lambda: world.control.undo(BOB, change.id),
        lambda: world.control.forbid(Scope("eve", frozenset({"board"})), shared.id),
    ):
        with pytest.raises((NotFound, Forbidden)):
            await attempt()
    assert await world.control.history(BOB) == []
    with pytest.raises(InvalidInput):
        await world.control.correct(ANN, own.id, Correction())
    with pytest.raises(InvalidInput):
        await world.control.correct(ANN, own.id, Correction(target="?!"))
    assert await world.names("Where do I live?") == ["Bern"]
