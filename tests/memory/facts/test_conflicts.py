"""Where documents disagree, and how sound the memory is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from aegis.database import Database
from aegis.scope import Scope
from memory.facts.audit import Auditor
from memory.facts.conflicts import Conflicts, told
from memory.facts.control import FactControl
from memory.facts.store import FactStore
from retrieval.tables import chunks
from tests.memory.facts.test_control import World
from tests.memory.library import Library

SCOPE = Scope("local")


@pytest.fixture
def library(any_database: Database) -> Library:
    return Library(any_database)


def conflicts(library: Library) -> Conflicts:
    return Conflicts(library.database, library.catalogue)


async def test_two_documents_say_otherwise(library: Library) -> None:
    (first,) = await library.put("Plan", "The deadline of Orion is 5 May 2026. Everybody agrees on that.")
    await library.put("Minutes", "The deadline of Orion is 9 June 2026.")
    await library.put("Lyra", "The deadline of Lyra is 1 July 2026.")
    (found,) = await conflicts(library).all(SCOPE)
    assert (found.subject.name, found.relation) == ("Orion", "HAS_AS_DEADLINE")
    assert {fact.target.name for fact in found.claims} == {"5 May 2026", "9 June 2026"}
    assert told(found).startswith("Documents disagree about Orion (deadline): “The deadline of Orion is")
    assert await conflicts(library).of_chunks(SCOPE, [first]) == [found]
    assert await conflicts(library).of_chunks(SCOPE, ["nothing"]) == []
    document = found.claims[0].evidence[0].document_id
    assert await conflicts(library).of_documents(SCOPE, [document]) == [found]
    assert await conflicts(library).all(Scope("other", frozenset({"board"}))) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Orion Labs uses Blue Glass.", "Orion Labs uses Red Glass."),  # may hold several
        ("Orion Labs is located in Bern.", "Lyra Labs is located in Basel."),  # another subject
        ("Orion Labs is located in Bern.", "Orion Labs is located in Bern, they say."),  # the same
        (
            "Orion Labs was located in Bern until 2010.",
            "Orion Labs was located in Basel from 2015 to 2020.",
        ),  # by turns
        ("The deadline of Orion is 5 May 2026.", "The deadline of Orion is not 9 June 2026."),
        ("The deadline of Orion is 5 May 2026.", "Is the deadline of Orion 9 June 2026?"),
    ],
)
async def test_no_disagreement(library: Library, one: str, other: str) -> None:
    await library.put("One", one)
    await library.put("Other", other)
    assert await conflicts(library).all(SCOPE) == []


async def test_one_document_alone_does_not_disagree(library: Library) -> None:
    await library.put("One", "The deadline of Orion is 5 May 2026. The deadline of Orion is 9 June 2026.")
    assert await conflicts(library).all(SCOPE) == []


async def test_a_confirmed_fact_settles_it(library: Library) -> None:
    await library.put("Plan", "The deadline of Orion is 5 May 2026.")
    await library.put("Minutes", "The deadline of Orion is 9 June 2026.")
    (found,) = await conflicts(library).all(SCOPE)
    store = FactStore(library.database, library.catalogue)
    world = World(library.database)
    control = FactControl(library.database, store, world.control.outbox, lambda: datetime.now(UTC))
    await control.confirm(SCOPE, found.claims[0].id)
    assert await conflicts(library).all(SCOPE) == []


async def test_audit(any_database: Database) -> None:
    world = World(any_database)
    await world.say("I live in Bern, and my wife is Anna.", scope=SCOPE)
    await world.library.put("Plan", "The deadline of Orion is 5 May 2026. Orion Labs uses Blue Glass.")
    (broken,) = await world.library.put("Minutes", "The deadline of Orion is 9 June 2026.")
    auditor = Auditor(any_database, world.library.catalogue)
    sound = await auditor.audit(SCOPE)
    assert (sound.missing, sound.unproven, sound.orphans, sound.contradictions) == ((), 0, 0, 1)
    assert sound.facts >= 5
    async with any_database.write() as connection:
        await connection.execute(update(chunks).where(chunks.c.id == broken).values(text="Something else stands here."))
    damaged = await auditor.audit(SCOPE)
    assert len(damaged.missing) >= 1
    assert 0 < damaged.missing_share < 1


async def test_a_date_that_is_the_object_dates_nothing(library: Library) -> None:
    await library.put("Plan", "The deadline of Orion is 5 May 2099. Orion Labs was founded in 1998 by Anna Berg.")
    store = FactStore(library.database, library.catalogue)
    dated = {scored.fact.relation: scored.fact.valid_at for scored in await store.search(SCOPE, "Orion, Orion Labs")}
    assert dated["HAS_AS_DEADLINE"] is None
    founded = dated["FOUNDED_BY"]
    assert founded is not None
    assert founded.year == 1998
