"""A paid embedder is held to the budgets that chats are held to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from aegis.database import Database
from aegis.errors import AegisError, BudgetExhausted, ConfigurationError
from aegis.settings import Settings
from inference.budgets import EMBEDDER, Budgets, spendings
from inference.paying import meter_of, paid_by
from inference.prices import NANO, Price
from inference.routing import budgets_of
from retrieval.embedding import Embedder, open_embedder
from retrieval.ingestion import lanes
from tests.retrieval.embedding.server import WIDTH, EmbeddingServer, Fault, running_embedding_server, tokens
from tests.retrieval.ingestion.ingesting import SCOPE, open_world, upload

MODEL = "text-embedding-3-small"
PRICE = Price(1000, 0)  # US dollars per million tokens: a milli-dollar each
TEXTS = [f"some words about subject{n}" for n in range(30)]


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 25, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(scope="module")
def running() -> Generator[EmbeddingServer]:
    with running_embedding_server() as server:
        yield server


@pytest.fixture
def server(running: EmbeddingServer, monkeypatch: pytest.MonkeyPatch) -> EmbeddingServer:
    """The address is this machine's, but for the settings it is a name of elsewhere."""
    monkeypatch.setattr("inference.premises.NAMES", ())
    running.renew()
    return running


def settings(server: EmbeddingServer, **more: Any) -> Settings:
    url = f"http://localhost:{server.port}/v1"
    embedder = {"kind": "openai", "url": url, "dimensions": WIDTH, "batch": 10, "timeout": 0.5}
    cloud = {"allowed": True, "prices": {MODEL: [PRICE.read, PRICE.written]}, "user_daily_budget": 100}
    cloud |= {"user_monthly_budget": 100, **more.pop("cloud", {})}
    return Settings.model_validate({"embedder": embedder | more.pop("embedder", {}), "cloud": cloud, **more})


@asynccontextmanager
async def opened(given: Settings, database: Database, clock: Clock) -> AsyncGenerator[tuple[Embedder, Budgets]]:
    budgets = budgets_of(given, database, clock)
    async with open_embedder(given.embedder, lambda embedder: meter_of(embedder, given, budgets)) as embedder:
        yield embedder, budgets


async def test_what_the_server_counts_is_what_it_costs(server: EmbeddingServer, any_database: Database) -> None:
    async with opened(settings(server), any_database, Clock()) as (embedder, budgets):
        with paid_by("ada"):
            await embedder.embed(TEXTS)
            await embedder.embed_query("a question of five words")
        used = {(each.kind, each.name, each.period): each.spent for each in await budgets.used("ada")}
    cost = PRICE.nano(tokens(TEXTS) + 5, 0) / NANO
    assert used == pytest.approx(
        {
            (kind, name, period): cost
            for kind, name in (("provider", EMBEDDER), ("user", "ada"))
            for period in ("2026-11-25", "2026-11")
        }
    )


async def test_a_server_that_does_not_count_costs_the_most(server: EmbeddingServer, database: Database) -> None:
    server.counts = False
    async with opened(settings(server), database, Clock()) as (embedder, budgets):
        await embedder.embed(["word"])
        assert await budgets.spent(EMBEDDER, "2026") == pytest.approx(PRICE.nano(4 + 16, 0) / NANO)


@pytest.mark.parametrize(
    ("fault", "paid"),
    [("error_500", False), ("busy_429", False), ("refused_400", False), ("hang", True), ("garbage", True)],
)
async def test_what_a_failed_request_costs(
    fault: Fault, paid: bool, server: EmbeddingServer, database: Database
) -> None:
    server.fault = fault
    async with opened(settings(server), database, Clock()) as (embedder, budgets):
        with pytest.raises(AegisError):
            await embedder.embed(["word"])
        assert (await budgets.spent(EMBEDDER, "2026") > 0) is paid


async def test_no_request_is_sent_beyond_the_budget(server: EmbeddingServer, any_database: Database) -> None:
    """Two replicas at once: neither spends what the other has set aside."""
    given = settings(server, embedder={"daily_budget": 0.5, "batch": 1})
    async with opened(given, any_database, Clock()) as (one, budgets), opened(given, any_database, Clock()) as (two, _):
        found: list[object] = []
        for n in range(80):
            texts = [f"{name}{n} is{n} a{n} text{n} of{n} words{n}" for name in ("one", "two")]
            found += await asyncio.gather(one.embed(texts[:1]), two.embed(texts[1:]), return_exceptions=True)
        refused = [error for error in found if isinstance(error, BaseException)]
        assert {type(error) for error in refused} == {BudgetExhausted}
        assert "AEGIS_EMBEDDER__DAILY_BUDGET" in str(refused[0])
        spent = await budgets.spent(EMBEDDER, "2026")
    assert spent == pytest.approx(PRICE.nano(tokens(server.texts), 0) / NANO)
    assert 0.4 < spent <= 0.5
    async with any_database.read() as connection:
        total = (await connection.execute(select(func.sum(spendings.c.nano_dollars)))).scalar_one()
    assert total <= NANO // 2


async def test_at_the_address_of_a_chat_provider_it_is_one_bill(server: EmbeddingServer, database: Database) -> None:
    chat = {"kind": "dashscope", "api_key": "k", "url": f"http://localhost:{server.port}/v1", "daily_budget": 0.05}
    async with opened(settings(server, providers=[chat]), database, Clock()) as (embedder, budgets):
        await budgets.reserve("dashscope", "ada", "qwen-plus", NANO // 20, 60)  # a chat takes all of it
        with pytest.raises(BudgetExhausted, match="The budget for dashscope of this day"):
            await embedder.embed(["word"])
        with pytest.raises(BudgetExhausted, match="in AEGIS_PROVIDERS"):
            await embedder.embed_query("word")
    assert server.texts == []


async def test_without_a_price_it_is_not_opened(server: EmbeddingServer, database: Database) -> None:
    with pytest.raises(ConfigurationError, match="AEGIS_CLOUD__PRICES"):
        async with opened(settings(server, cloud={"prices": {}}), database, Clock()):
            pass


async def test_one_on_this_machine_costs_nothing(running: EmbeddingServer, database: Database) -> None:
    running.renew()
    given = settings(running, embedder={"url": f"http://127.0.0.1:{running.port}/v1"}, cloud={"prices": {}})
    async with opened(given, database, Clock()) as (embedder, budgets):
        await embedder.embed(["word"])
        assert not budgets.bounds(EMBEDDER)


async def test_ingestion_stops_at_the_budget_and_goes_on_when_there_is_money(
    server: EmbeddingServer, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "MONEY", 0.1)
    clock, given = Clock(), settings(server, embedder={"daily_budget": 2.0, "monthly_budget": 100, "batch": 4})
    files = {f"{n}.txt": "\n\n".join(f"file{n} part{part} {'a ' * 60}" for part in range(8)) for n in range(4)}
    async with opened(given, database, clock) as (embedder, _):
        async with open_world(database, tmp_path, embedder=embedder) as world:
            job = await world.intake.submit(SCOPE, [upload(name, text) for name, text in files.items()])
            async with asyncio.timeout(30):
                while (seen := await world.intake.job(SCOPE, job.id)).waits is None:  # noqa: ASYNC110 - the job's
                    await asyncio.sleep(0.02)
            assert seen.waits.code == "budget_exhausted"
            assert "AEGIS_EMBEDDER__DAILY_BUDGET" in str(seen.waits.reason)
            assert seen.done < len(files)
        assert len(server.texts) < 32
        async with open_world(database, tmp_path, embedder=embedder) as world:  # after a restart
            finishing = asyncio.create_task(world.finished(job.id))
            while not finishing.done():
                if (await world.intake.job(SCOPE, job.id)).waits is not None:
                    clock.now += timedelta(days=1)
                await asyncio.sleep(0.02)
            ended = await finishing
            assert set(await world.texts()) == {f"upload:{name}" for name in files}
    assert (ended.state, ended.done, ended.waits) == ("done", len(files), None)
    assert len(set(server.texts)) == 32
    assert len(server.texts) <= 32 + 2 * 8  # twice only what was under way when the process stopped
