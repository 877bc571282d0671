"""Reading by a paid model: shown and asked first, held to the budgets, stopped and resumed at their end."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from aegis.database import Database
from aegis.database.outbox import Outbox
from memory.reading.reader import REST, ModelReader
from memory.reading.tables import readings
from retrieval.privacy import Privacy
from tests.memory.library import Library
from tests.memory.reading.conftest import SCOPE, Clock, Script, open_reader
from tests.memory.reading.test_reader import MADE_UP, STATED, TEXT, drained, rows
from tests.servers.openai import OpenAILike, running_openai_like

PRICES = {"gpt-4o-mini": [10, 40]}  # made up


@pytest.fixture
def paid(script: Script) -> Generator[OpenAILike]:
    with running_openai_like() as server:
        server.tokens_per_second, server.responds = 0, script
        script.edges = {"Lisbon": [STATED, MADE_UP]}
        yield server


def sections(server: OpenAILike, **more: Any) -> dict[str, Any]:
    provider = {"kind": "openai", "url": server.base_url, "api_key": "k", "max_tokens": 200, "first_token_timeout": 5}
    cloud = {"allowed": True, "collections": ["default"], "prices": PRICES, "user_daily_budget": 100}
    cloud |= {"user_monthly_budget": 100}
    return {"providers": [provider | more.pop("provider", {})], "cloud": cloud | more}


async def filled(database: Database, count: int) -> Library:
    library = Library(database)
    for number in range(count):
        await library.put(f"Offices {number}", f"{TEXT} This is note {number}.")
    return library


async def test_nothing_is_sent_before_somebody_agrees(any_database: Database, paid: OpenAILike, clock: Clock) -> None:
    await filled(any_database, 4)
    async with open_reader(any_database, clock, **sections(paid)) as reader:
        await drained(reader, clock, steps=5)
        assert paid.requests == 0
        status = await reader.status(SCOPE)
        assert status.choice is not None
        assert (status.choice.provider, status.choice.model) == ("openai", "gpt-4o-mini")
        assert status.counts.undecided == 4
        assert paid.requests == 0  # the estimate asks nobody
        assert await rows(any_database, readings)
        await reader.agree(SCOPE)
        await drained(reader, clock)
        status = await reader.status(SCOPE)
    assert (status.counts.done, status.counts.undecided, status.estimate) == (4, 0, None)
    assert paid.chats
    assert paid.chats[0].body["response_format"]["json_schema"]["schema"]["title"] == "ExtractedEntities"
    assert status.quarantined == 4


async def test_the_estimate_is_near_what_it_takes(any_database: Database, paid: OpenAILike, clock: Clock) -> None:
    await filled(any_database, 12)
    async with open_reader(any_database, clock, **sections(paid)) as reader:
        estimate = (await reader.status(SCOPE)).estimate
        assert estimate is not None
        assert (estimate.chunks, estimate.sampled) == (12, 6)
        await reader.agree(SCOPE)
        await drained(reader, clock)
        spent = (await reader.models.budgets.used("local"))[0].spent  # type: ignore[attr-defined]
    done = await rows(any_database, readings)
    calls, read = sum(row["calls"] for row in done), sum(row["tokens_in"] for row in done)
    assert 0.5 * calls <= estimate.calls <= 2 * calls
    assert 0.5 * read <= estimate.tokens_in <= 2 * read
    assert 0.4 * spent <= estimate.cost <= 2.5 * spent
    assert sum(row["nano_dollars"] for row in done) == pytest.approx(spent * 1e9, rel=1e-6)


async def test_it_stops_at_the_budget_and_goes_on_when_there_is_money(
    any_database: Database, paid: OpenAILike, clock: Clock
) -> None:
    await filled(any_database, 6)
    given = sections(paid, provider={"daily_budget": 0.3, "monthly_budget": 100})
    async with open_reader(any_database, clock, **given) as reader:
        await reader.agree(SCOPE)
        for _ in range(20):
            if await reader.step() == REST:
                break
        status = await reader.status(SCOPE)
        assert "The budget for openai of this day" in status.waits
        assert 0 < status.counts.done < 6
        assert status.counts.failed == 0
        asked = len(paid.chats)
        await reader.step()
        assert len(paid.chats) == asked
    clock.later(86_400)
    async with open_reader(any_database, clock, "after a restart", **given) as reader:
        await reader.queue.take_back()
        for _ in range(20):
            if await reader.step() == REST:
                clock.later(86_400)
        status = await reader.status(SCOPE)
    assert (status.counts.done, status.counts.waiting, status.waits) == (6, 0, "")


async def test_what_may_not_leave_is_not_sent_though_somebody_agrees(
    any_database: Database, paid: OpenAILike, clock: Clock
) -> None:
    await filled(any_database, 1)
    async with open_reader(any_database, clock, **sections(paid, collections=["other"])) as reader:
        assert (await reader.status(SCOPE)).choice is None
        await reader.agree(SCOPE)
        await drained(reader, clock, steps=5)
        assert (await reader.queue.counts(SCOPE)).waiting == 1
    assert paid.requests == 0


async def test_a_model_of_this_machine_comes_first_and_asks_nobody(
    any_database: Database, paid: OpenAILike, model: Any, script: Script, clock: Clock
) -> None:
    await filled(any_database, 2)
    async with open_reader(any_database, clock, ollama={"url": model.url}, **sections(paid)) as reader:
        assert isinstance(reader, ModelReader)
        await drained(reader, clock)
        status = await reader.status(SCOPE)
    assert (status.counts.done, status.estimate) == (2, None)
    assert paid.requests == 0


@pytest.mark.parametrize("when", ["before", "after somebody agreed", "while it is read"])
async def test_a_document_that_is_marked_private_is_sent_no_further(
    when: str, any_database: Database, paid: OpenAILike, clock: Clock
) -> None:
    library = await filled(any_database, 1)
    (entry,) = await library.catalogue.list_documents(SCOPE)
    privacy = Privacy(any_database, library.catalogue, Outbox(any_database), clock)
    async with open_reader(any_database, clock, **sections(paid)) as reader:
        if when == "before":
            await privacy.mark(SCOPE, [entry.id])
            status = await reader.status(SCOPE)
            assert status.estimate is None
            assert status.waits == "Passages of private documents that wait for a model on this machine: 1."
        await reader.agree(SCOPE)
        if when == "after somebody agreed":
            await privacy.mark(SCOPE, [entry.id])

        async def turn() -> None:
            if when == "while it is read" and paid.chats:
                await privacy.mark(SCOPE, [entry.id])

        reader.turn = turn
        await drained(reader, clock, steps=5)
        counts = await reader.queue.counts(SCOPE)
    assert len(paid.chats) == (when == "while it is read")
    assert (counts.done, counts.waiting) == (0, 1)
