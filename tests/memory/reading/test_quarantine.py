"""What was set apart, looked at by a person: released, which makes it a fact that can be taken back; or discarded."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from aegis.database import Database
from aegis.database.outbox import Outbox
from aegis.errors import Conflict, Forbidden, NotFound
from aegis.scope import Scope
from memory.facts import Fact
from memory.facts.audit import Auditor
from memory.facts.control import FactControl
from memory.facts.history import Change
from memory.facts.store import FactStore
from memory.reading.quarantine import Quarantined
from memory.reading.reader import ModelReader
from memory.reading.tables import quarantined
from tests.memory.library import Library
from tests.memory.reading.conftest import SCOPE, Clock, Script
from tests.memory.reading.test_reader import MADE_UP, STATED, TEXT, drained

STRANGERS = Scope("eve", frozenset({"other"}))
QUESTION = "What did Orion Labs bankrupt?"


class ReadingOnly(Scope):
    def may_write(self, collection: str) -> bool:
        return False


async def held(library: Library, reader: ModelReader, script: Script, clock: Clock, *texts: str) -> list[Quarantined]:
    """What was set apart after reading a document of each text."""
    for number, text in enumerate(texts or (TEXT,)):
        await library.put(f"Offices {number}", text)
    script.edges = {"Lisbon": [STATED, MADE_UP]}
    await drained(reader, clock)
    return await reader.quarantine.page(SCOPE)


def control(library: Library, clock: Clock) -> FactControl:
    database = library.database
    return FactControl(database, FactStore(database, library.catalogue), Outbox(database), clock)


async def found(library: Library) -> dict[str, Fact]:
    scored = await FactStore(library.database, library.catalogue).search(SCOPE, QUESTION)
    return {each.fact.id: each.fact for each in scored}


async def changes(library: Library, clock: Clock, fact_id: str) -> list[Change]:
    return list(await control(library, clock).history(SCOPE, fact_id=fact_id))


async def test_a_released_claim_is_a_confirmed_fact_on_its_passage(
    library: Library, reader: ModelReader, script: Script, clock: Clock
) -> None:
    (claim,) = await held(library, reader, script, clock)
    fact_id = await reader.quarantine.release(SCOPE, claim.id)
    fact = (await found(library))[fact_id]
    assert (fact.source.name, fact.relation, fact.target.name) == MADE_UP[:3]
    assert (fact.text, fact.confirmed) == (MADE_UP[3], True)
    (proof,) = fact.evidence
    assert proof.chunk_id == claim.chunk_id
    assert TEXT[proof.span.start : proof.span.end] == proof.quote
    assert await reader.quarantine.page(SCOPE) == []
    assert await reader.quarantine.total(SCOPE) == 0
    (change,) = await changes(library, clock, fact_id)
    assert (change.kind, change.by) == ("released", SCOPE.user)
    assert claim.reason in change.reason
    audit = await Auditor(library.database, library.catalogue).audit(SCOPE)
    assert list(audit.missing) == []  # its quote stands in its document
    with pytest.raises(NotFound):
        await reader.quarantine.release(SCOPE, claim.id)


async def test_releasing_is_undone_and_done_again(
    library: Library, reader: ModelReader, script: Script, clock: Clock
) -> None:
    (claim,) = await held(library, reader, script, clock)
    fact_id = await reader.quarantine.release(SCOPE, claim.id)
    (change,) = await changes(library, clock, fact_id)
    await control(library, clock).undo(SCOPE, change.id)
    assert fact_id not in await found(library)
    assert await reader.quarantine.page(SCOPE) == [claim]
    clock.later(1)
    assert await reader.quarantine.release(SCOPE, claim.id) == fact_id
    assert fact_id in await found(library)


async def test_what_another_passage_proves_stays_when_one_release_is_undone(
    library: Library, reader: ModelReader, script: Script, clock: Clock
) -> None:
    first, second = await held(library, reader, script, clock, TEXT, f"{TEXT} Again.")
    assert await reader.quarantine.page(SCOPE, document=second.document_id) == [second]
    fact_id = await reader.quarantine.release(SCOPE, first.id)
    clock.later(1)
    assert await reader.quarantine.release(SCOPE, second.id) == fact_id
    assert len((await found(library))[fact_id].evidence) == 2
    latest = (await changes(library, clock, fact_id))[0]
    await control(library, clock).undo(SCOPE, latest.id)
    assert [proof.chunk_id for proof in (await found(library))[fact_id].evidence] == [first.chunk_id]
    assert await reader.quarantine.page(SCOPE) == [second]


async def test_what_was_forbidden_is_not_released(
    library: Library, reader: ModelReader, script: Script, clock: Clock
) -> None:
    first, second = await held(library, reader, script, clock, TEXT, f"{TEXT} Again.")
    fact_id = await reader.quarantine.release(SCOPE, first.id)
    await control(library, clock).forbid(SCOPE, fact_id)
    with pytest.raises(Conflict, match="forbade"):
        await reader.quarantine.release(SCOPE, second.id)
    assert await reader.quarantine.page(SCOPE) == [second]


async def test_a_discarded_claim_is_listed_no_more_though_it_is_read_again(
    library: Library, reader: ModelReader, script: Script, clock: Clock
) -> None:
    (claim,) = await held(library, reader, script, clock)
    await reader.quarantine.discard(SCOPE, claim.id)
    assert await reader.quarantine.page(SCOPE) == []
    async with library.database.read() as connection:
        (state,) = (await connection.execute(select(quarantined.c.state))).scalars()
    assert state == "discarded"
    for again in (reader.quarantine.discard, reader.quarantine.release):
        with pytest.raises(NotFound):
            await again(SCOPE, claim.id)


@pytest.mark.parametrize("scope", [STRANGERS, ReadingOnly(SCOPE.user, SCOPE.collections)])
async def test_who_may_not_write_decides_nothing(
    scope: Any, library: Library, reader: ModelReader, script: Script, clock: Clock, any_database: Database
) -> None:
    (claim,) = await held(library, reader, script, clock)
    error = NotFound if scope is STRANGERS else Forbidden
    for decide in (reader.quarantine.discard, reader.quarantine.release):
        with pytest.raises(error):
            await decide(scope, claim.id)
    assert await reader.quarantine.page(SCOPE) == [claim]
