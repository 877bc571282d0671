"""Chunks read by a model: what they state becomes facts, all else is set apart, each chunk once, garbage and all."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from aegis.database import Database
from aegis.database.leases import Leases, leases
from memory.facts.store import FactStore
from memory.facts.tables import entities, evidence, facts
from memory.facts.writing import GraphWriter
from memory.reading import reader as reader_module
from memory.reading.queue import Lost, Usage
from memory.reading.reader import ATTEMPTS, BACKOFF, ModelReader
from memory.reading.tables import quarantined, readings
from tests.memory.library import Library
from tests.memory.reading.conftest import SCOPE, Clock, Script, open_reader
from tests.servers.ollama import OllamaLike

TEXT = "In 2019 Orion Labs, which is large, opened an office in Lisbon. Nobody expected it to last."
STATED = ("Orion Labs", "OPENED_OFFICE_IN", "Lisbon", "Orion Labs opened an office in Lisbon in 2019.")
MADE_UP = ("Orion Labs", "BANKRUPTED", "Lisbon", "Orion Labs bankrupted three zeppelin factories in Lisbon.")
STRANGER = ("Zeppelin Works", "OWNS", "Orion Labs", "Zeppelin Works owns Orion Labs.")


async def rows(database: Database, table: Any) -> list[Any]:
    async with database.read() as connection:
        return list((await connection.execute(select(table))).mappings())


async def drained(reader: ModelReader, clock: Clock, steps: int = 40) -> None:
    for _ in range(steps):
        await reader.step()
        counts = await reader.queue.counts(SCOPE)
        if not counts.waiting and not counts.running:
            return
        clock.later(10)


async def test_what_a_chunk_states_is_learnt_in_its_own_words(
    library: Library, reader: ModelReader, script: Script, clock: Clock
) -> None:
    (chunk,) = await library.put("Offices", TEXT)
    before = {row["id"] for row in await rows(library.database, facts)}
    script.edges = {"Lisbon": [STATED]}
    await drained(reader, clock)
    (new,) = [row for row in await rows(library.database, facts) if row["id"] not in before]
    assert new["text"] == "In 2019 Orion Labs, which is large, opened an office in Lisbon."
    assert new["relation"] == "OPENED_OFFICE_IN"
    assert new["valid_at"] is None or new["valid_at"] == datetime(2019, 1, 1, tzinfo=UTC)  # never the model's date
    proofs = [row for row in await rows(library.database, evidence) if row["fact_id"] == new["id"]]
    assert [(row["episode_id"], TEXT[row["start"] : row["end"]]) for row in proofs] == [(chunk, new["text"])]
    found = await FactStore(library.database, library.catalogue).search(SCOPE, "What did Orion Labs open?")
    assert new["id"] in {scored.fact.id for scored in found}
    (done,) = await rows(library.database, readings)
    assert (done["state"], done["model"]) == ("done", "gemma3:4b")
    assert done["calls"] == len(script.asked) >= 2
    assert done["tokens_in"] > 100


async def test_the_schema_is_sent_and_the_window_stays(
    library: Library, reader: ModelReader, script: Script, model: OllamaLike, clock: Clock
) -> None:
    await library.put("Offices", TEXT)
    script.edges = {"Lisbon": [STATED]}
    await drained(reader, clock)
    assert {"ExtractedEntities", "ExtractedEdges"} <= set(script.asked)
    assert not {"EdgeTimestamps", "SummarizedEntities"} & set(script.asked)
    assert {call.body["options"]["num_ctx"] for call in model.chats} == {8192}


async def test_what_it_does_not_state_is_set_apart_and_never_searched(
    library: Library, reader: ModelReader, script: Script, clock: Clock
) -> None:
    (chunk,) = await library.put("Offices", TEXT)
    before = await rows(library.database, facts)
    script.edges = {"Lisbon": [MADE_UP, STRANGER]}
    await drained(reader, clock)
    assert await rows(library.database, facts) == before
    assert "Zeppelin Works" not in {row["name"] for row in await rows(library.database, entities)}
    kept = {one.subject: one for one in await reader.quarantine.page(SCOPE)}
    assert kept["Orion Labs"].reason == "The sentence does not state the relation “bankrupted”."
    assert kept["Zeppelin Works"].reason == "The sentence does not name the subject “Zeppelin Works”."
    assert kept["Orion Labs"].quote.startswith("In 2019 Orion Labs")
    assert {one.chunk_id for one in kept.values()} == {chunk}
    assert (await reader.status(SCOPE)).quarantined == 2


async def test_another_user_or_collection_sees_none_of_it(
    library: Library, reader: ModelReader, script: Script, clock: Clock
) -> None:
    await library.put("Offices", TEXT, collection="secret")
    script.edges = {"Lisbon": [MADE_UP]}
    await drained(reader, clock)
    assert await rows(library.database, quarantined)
    assert await reader.quarantine.page(SCOPE) == []
    status = await reader.status(SCOPE)
    assert (status.counts.done, status.quarantined) == (0, 0)


async def test_the_same_fact_of_two_chunks_is_one_with_two_proofs(
    library: Library, reader: ModelReader, script: Script, clock: Clock
) -> None:
    await library.put("One", TEXT)
    await library.put("Two", TEXT)
    script.edges = {"Lisbon": [STATED]}
    await drained(reader, clock)
    mine = [row["id"] for row in await rows(library.database, facts) if row["relation"] == "OPENED_OFFICE_IN"]
    assert len(mine) == 1
    assert sum(row["fact_id"] == mine[0] for row in await rows(library.database, evidence)) == 2
    names = [row["key"] for row in await rows(library.database, entities)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("said", ["not json", "[1, 2]", '{"wrong": 1}', '{"extracted_entities": [{"name": 3}]}', "{"])
async def test_garbage_is_asked_for_once_more_then_tried_later_then_given_up(
    said: str, library: Library, reader: ModelReader, script: Script, clock: Clock
) -> None:
    await library.put("Offices", TEXT)
    script.edges, script.garbage = {"Lisbon": [STATED]}, [said]
    await reader.step()
    assert (await reader.queue.counts(SCOPE)).done == 1  # the second answer was in the form asked for
    await library.put("More", TEXT)
    await reader.queue.renew(0)
    script.garbage = [said] * 100
    for attempt in range(ATTEMPTS):
        await reader.step()
        clock.later(BACKOFF * 2**attempt - 1)
        await reader.step()  # too early: nothing is asked
        clock.later(2)
    assert len(script.garbage) == 100 - 2 * ATTEMPTS
    counts = await reader.queue.counts(SCOPE)
    assert (counts.done, counts.failed) == (1, 1)
    status = await reader.status(SCOPE)
    assert "did not answer in the form" in status.failures[0]
    script.garbage = []
    await reader.agree(SCOPE)  # go on
    await drained(reader, clock)
    assert (await reader.queue.counts(SCOPE)).done == 2


async def test_a_fenced_answer_is_an_answer(
    library: Library, reader: ModelReader, script: Script, clock: Clock
) -> None:
    await library.put("Offices", TEXT)
    script.garbage = ['```json\n{"extracted_entities": []}\n```']
    await reader.step()
    assert (await reader.queue.counts(SCOPE)).done == 1
    assert script.asked == ["ExtractedEntities", "ExtractedEdges"]


@pytest.mark.parametrize("fault", ["error_500", "cut", "garbage", "error_midway"])
async def test_a_server_that_fails_loses_no_chunk(
    fault: Any, library: Library, reader: ModelReader, script: Script, model: OllamaLike, clock: Clock
) -> None:
    await library.put("Offices", TEXT)
    script.edges, model.fault = {"Lisbon": [STATED]}, fault
    await reader.step()
    assert (await reader.queue.counts(SCOPE)).waiting == 1
    model.fault = ""
    clock.later(120)
    await drained(reader, clock)
    assert (await reader.queue.counts(SCOPE)).done == 1


async def test_without_a_model_everything_waits_and_says_so(library: Library, clock: Clock) -> None:
    await library.put("Offices", TEXT)
    async with open_reader(library.database, clock) as reader:
        await reader.step()
        status = await reader.status(SCOPE)
    assert (status.choice, status.counts.waiting) == (None, 1)
    assert "No model answers" in status.waits


async def test_a_chunk_is_done_by_whoever_has_it_in_hand_only(
    library: Library, reader: ModelReader, clock: Clock
) -> None:
    await library.put("Offices", TEXT)
    await reader.queue.renew(0)
    one = await reader.queue.take(0, None)
    assert one is not None
    assert await reader.queue.take(0, None) is None
    async with open_reader(library.database, clock, "another") as other:
        assert await other.queue.take_back() == 1
        again = await other.queue.take(0, None)
        assert again is not None
        usage = Usage()
        with pytest.raises(Lost):
            async with library.database.write() as connection:
                await reader.queue.done(connection, one, usage)
        async with library.database.write() as connection:
            await other.queue.done(connection, again, usage)
    assert (await reader.queue.counts(SCOPE)).done == 1


async def test_what_is_deleted_takes_what_the_model_said_of_it(
    library: Library, reader: ModelReader, script: Script, clock: Clock
) -> None:
    (chunk,) = await library.put("Offices", TEXT)
    script.edges = {"Lisbon": [STATED, MADE_UP]}
    await drained(reader, clock)
    version = await library.version_of(chunk)
    async with library.database.write() as connection:
        await GraphWriter().remove(connection, version)
    for table in (facts, evidence, quarantined, readings):
        assert await rows(library.database, table) == []


async def test_a_forbidden_fact_is_not_learnt_again_by_a_model(
    library: Library, reader: ModelReader, script: Script, clock: Clock
) -> None:
    from memory.facts.tables import refused

    await library.put("Offices", TEXT)
    script.edges = {"Lisbon": [STATED]}
    await drained(reader, clock)
    (learnt,) = [row for row in await rows(library.database, facts) if row["relation"] == "OPENED_OFFICE_IN"]
    async with library.database.write() as connection:
        gone = {"fact_id": learnt["id"], "group_id": learnt["group_id"], "at": clock()}
        await connection.execute(refused.insert().values(**gone))
        await connection.execute(evidence.delete().where(evidence.c.fact_id == learnt["id"]))
        await connection.execute(facts.delete().where(facts.c.id == learnt["id"]))
    await library.put("Again", TEXT)
    await reader.queue.renew(0)
    await drained(reader, clock)
    assert (await reader.queue.counts(SCOPE)).done == 2
    assert learnt["id"] not in {row["id"] for row in await rows(library.database, facts)}


async def test_no_chunk_is_read_while_peoples_questions_run(
    library: Library, reader: ModelReader, script: Script
) -> None:
    await library.put("Offices", TEXT)
    reader.busy = lambda: True
    await reader.step()
    assert script.asked == []
    assert (await reader.queue.counts(SCOPE)).waiting == 1


async def test_replaced_versions_are_not_read(
    library: Library, reader: ModelReader, script: Script, clock: Clock
) -> None:
    await library.put("Offices", TEXT, visible=(0, 1))
    await reader.queue.renew(0)
    await library.raise_epoch(1)
    await library.put("Offices", "Orion Labs moved away.", visible=(1, 2**53))
    await drained(reader, clock)
    async with library.database.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(readings))).scalar_one() == 1
    assert not any("expected it to last" in prompt for prompt in script.asked)


async def test_of_replicas_one_reads_however_long_a_chunk_takes(
    library: Library, model: OllamaLike, script: Script, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is kept while the model answers, so that nobody takes the chunk over."""
    monkeypatch.setattr(reader_module, "HOLD", 0.02)
    await library.put("Offices", TEXT)
    script.edges, model.first_token_after = {"Lisbon": [STATED]}, 3600
    given = {"ollama": {"url": model.url, "timeout": 600, "first_token_timeout": 600}}
    async with (
        open_reader(library.database, clock, "one", **given) as one,
        open_reader(library.database, clock, "two", **given) as two,
    ):
        one.leases, two.leases = Leases(library.database, "one"), Leases(library.database, "two")
        reading = asyncio.create_task(one.run())
        async with asyncio.timeout(60):
            while not model.chats:  # noqa: ASYNC110 - the server's
                await asyncio.sleep(0.02)
            for _ in range(3):
                clock.later(40)
                while (await _leased_until(library.database)) < clock() + timedelta(seconds=50):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        follower = asyncio.create_task(two.run())
        await asyncio.sleep(0.2)
        assert (await one.queue.counts(SCOPE)).running == 1
        for task in (reading, follower):
            task.cancel()
        await asyncio.gather(reading, follower, return_exceptions=True)
    (row,) = await rows(library.database, readings)
    assert (row["holder"], row["attempts"]) == ("one", 1)
    assert len(script.asked) == 1


async def _leased_until(database: Database) -> datetime:
    async with database.read() as connection:
        query = select(leases.c.until).where(leases.c.name == reader_module.LEASE)
        return (await connection.execute(query)).scalar_one()
