"""Cloud calls never cost more than was set aside for them, whoever calls at the same time and whatever is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select

from aegis.database import Database
from aegis.errors import BudgetExhausted
from aegis.settings import Settings
from inference import Piece
from inference.budgets import Budgets, Limits, budgets, spendings
from inference.prices import NANO, Price, unpriced
from inference.routing import RoutedWriter
from tests.inference.conftest import NOBODY, Routed
from tests.inference.test_writer_contract import REQUEST
from tests.servers.ollama import Fault
from tests.servers.openai import OpenAILike, running_openai_like

OPEN = {"allowed": True, "user_daily_budget": 100, "user_monthly_budget": 100}
LONG = " ".join(["word"] * 60)
DOLLARS = Price(20, 100)


def provider(server: OpenAILike, **more: Any) -> dict[str, Any]:
    given = {"kind": "openai", "url": server.base_url, "api_key": "k", "max_tokens": 30, "first_token_timeout": 0.4}
    return {**given, "daily_budget": 1, "monthly_budget": 1, **more}


def priced(**more: Any) -> dict[str, Any]:
    return OPEN | {"prices": {model: [DOLLARS.read, DOLLARS.written] for model in ("gpt-4o-mini", "qwen-plus")}} | more


async def answered(writer: RoutedWriter, user: str = "ada") -> list[Piece]:
    return [piece async for piece in writer.write(replace(REQUEST, user=user, shareable=True))]


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 25, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def limited(database: Database, clock: Clock, dollars: float = 1.0, user: float = 100.0) -> Budgets:
    return Budgets(database, clock, {"openai": Limits(dollars, dollars)}, Limits(user, user), 0.8)


async def test_a_call_is_reserved_then_settled_once(any_database: Database) -> None:
    kept = limited(any_database, Clock())
    held = await kept.reserve("openai", "ada", "m", NANO // 2, 60)
    assert await kept.spent("openai", "2026-11") == 0.5
    for _ in range(3):
        await kept.settle(held, NANO // 10, 100, 10)
    assert await kept.spent("openai", "2026-11-25") == 0.1
    assert {(used.kind, used.period): used.spent for used in await kept.used("ada")} == {
        ("provider", "2026-11-25"): 0.1,
        ("provider", "2026-11"): 0.1,
        ("user", "2026-11-25"): 0.1,
        ("user", "2026-11"): 0.1,
    }


async def test_what_does_not_fit_is_refused_and_changes_nothing(any_database: Database) -> None:
    clock = Clock()
    kept = limited(any_database, clock)
    await kept.reserve("openai", "ada", "m", NANO, 60)
    with pytest.raises(BudgetExhausted, match=r"The budget for openai of this day \(1 US dollars\)"):
        await kept.reserve("openai", "bob", "m", 1, 60)
    assert await kept.spent("openai", "2026") == 1.0
    assert (await kept.used("bob"))[-1].spent == 0
    clock.now += timedelta(days=1)
    with pytest.raises(BudgetExhausted, match="of this month"):
        await kept.reserve("openai", "bob", "m", 1, 60)
    clock.now += timedelta(days=10)
    await kept.reserve("openai", "bob", "m", 1, 60)


async def test_users_have_budgets_of_their_own(any_database: Database) -> None:
    kept = limited(any_database, Clock(), user=0.1)
    await kept.reserve("openai", "ada", "m", NANO // 10, 60)
    with pytest.raises(BudgetExhausted, match="Your budget"):
        await kept.reserve("openai", "ada", "m", 1, 60)
    await kept.reserve("openai", "bob", "m", NANO // 10, 60)


async def test_a_provider_without_a_budget_is_not_paid(any_database: Database) -> None:
    with pytest.raises(BudgetExhausted):
        await limited(any_database, Clock()).reserve("unknown", "ada", "m", 1, 60)


async def test_parallel_reservations_never_exceed_the_limit(any_database: Database) -> None:
    kept = limited(any_database, Clock())

    async def one() -> bool:
        try:
            held = await kept.reserve("openai", "ada", "m", NANO // 50, 60)
        except BudgetExhausted:
            return False
        await kept.settle(held, NANO // 100)
        return True

    made = sum(await asyncio.gather(*(one() for _ in range(150))))
    assert 50 <= made <= 100
    assert await kept.spent("openai", "2026") == made / 100


async def test_a_reservation_that_nobody_settles_counts_in_full(any_database: Database) -> None:
    clock = Clock()
    kept = limited(any_database, clock)
    held = await kept.reserve("openai", "ada", "m", NANO // 2, 60)
    assert await kept.abandon() == 0
    clock.now += timedelta(hours=1)
    assert await kept.abandon() == 1
    assert await kept.spent("openai", "2026") == 0.5
    await kept.settle(held, NANO // 4)  # it was late, not dead
    assert await kept.spent("openai", "2026") == 0.25


async def test_it_is_warned_from_eighty_percent_on(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    kept = limited(database, Clock())
    assert (await kept.reserve("openai", "ada", "m", NANO * 7 // 10, 60)).warnings == ()
    said = (await kept.reserve("openai", "ada", "m", NANO // 10, 60)).warnings
    assert said[0] == "The budget for openai of this day is nearly spent: 0.8 of 1 US dollars."
    await kept.reserve("openai", "ada", "m", NANO // 10, 60)
    assert sum("of this day is nearly spent" in record.message for record in caplog.records) == 1


def test_prices_are_rounded_up() -> None:
    assert Price(0.05, 0.2).nano(1, 1) == 250
    assert Price(0.0001, 0).nano(1, 0) == 1
    assert Price(0, 0).nano(10**6, 10**6) == 0


async def test_a_spent_budget_means_the_next_provider_then_a_clear_refusal(
    openai_like: OpenAILike, routed_writer: Routed
) -> None:
    with running_openai_like(model="qwen-plus") as dashscope:
        first = {"kind": "dashscope", "url": dashscope.base_url, "api_key": "k", "daily_budget": 0}
        async with routed_writer(providers=[first, provider(openai_like)], cloud=priced()) as writer:
            pieces = await answered(writer)
            assert pieces[-1].model == "gpt-4o-mini"
            assert "budget for dashscope" in pieces[-1].note
            assert dashscope.calls == []
        async with routed_writer(providers=[first], cloud=priced()) as writer:
            pieces = await answered(writer)
            assert pieces[-1].model == "extractive"
            assert "budget for dashscope of this day (0 US dollars) has no room" in pieces[-1].note


async def test_a_model_without_a_price_is_not_asked(
    openai_like: OpenAILike, routed_writer: Routed, caplog: pytest.LogCaptureFixture
) -> None:
    """None comes along: what nobody has looked up is no price."""
    async with routed_writer(providers=[provider(openai_like)], cloud=OPEN) as writer:
        assert """AEGIS_CLOUD__PRICES='{"gpt-4o-mini": [READ, WRITTEN]}'""" in (await answered(writer))[-1].note
    assert openai_like.calls == []
    assert any("No price for gpt-4o-mini" in record.message for record in caplog.records)


def test_models_of_every_role_need_a_price_and_those_of_this_machine_none() -> None:
    mine = {"kind": "compatible", "url": "http://127.0.0.1:8080/v1", "model": "mine"}
    cloud = {"kind": "openai", "api_key": "k", "model": "a", "models": {"judge": "b"}}
    settings = {"providers": [mine, cloud], "cloud": {"allowed": True, "prices": {"a": [1, 2]}}}
    assert unpriced(Settings.model_validate(settings)) == ["b"]


@pytest.mark.parametrize("price", [[-1, 1], [1, "inf"], [1]])
def test_what_is_no_price_is_refused(price: list[object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"cloud": {"prices": {"m": price}}})


@pytest.mark.parametrize(
    ("fault", "costs"),
    [("", "counted"), ("error_500", "nothing"), ("busy_429", "nothing"), ("hang", "most"), ("cut", "most")],
)
async def test_what_a_call_costs_by_how_it_ended(
    fault: Fault, costs: str, openai_like: OpenAILike, routed_writer: Routed
) -> None:
    openai_like.fault, openai_like.script = fault, [LONG]
    given = {"providers": [provider(openai_like, queue_timeout=0.3)], "cloud": priced()}
    async with routed_writer(**given) as writer:
        pieces = await answered(writer)
        spent = (await writer.budgets.used("ada"))[0].spent
    most = _most() / NANO
    counted = sum(piece.cost for piece in pieces)
    assert spent == pytest.approx({"counted": counted, "nothing": 0, "most": most}[costs])
    if costs == "counted":
        assert 0 < counted < most


async def test_leaving_in_the_middle_counts_in_full_and_stops_the_call(
    openai_like: OpenAILike, routed_writer: Routed
) -> None:
    openai_like.tokens_per_second, openai_like.script = 20, [LONG]
    async with routed_writer(providers=[provider(openai_like)], cloud=priced()) as writer:
        stream = writer.write(replace(REQUEST, user="ada", shareable=True))
        await anext(stream)
        await stream.aclose()
        assert (await writer.budgets.used("ada"))[0].spent == _most() / NANO
        await asyncio.sleep(0.3)
    assert openai_like.chats[0].outcome == "cancelled"


@pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgres", marks=pytest.mark.servers)])
async def test_two_processes_one_killed(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest, openai_like: OpenAILike
) -> None:
    """AEGIS_TEST_CALLS calls (1,000 by hand) for a dollar; one of two processes is killed."""
    from aegis.database import open_database
    from aegis.database.migrations import upgrade
    from tests.servers.fixtures import fresh_postgres_database

    calls = int(os.environ.get("AEGIS_TEST_CALLS", "160" if engine == "sqlite" else "400"))
    async with _address(engine, request, fresh_postgres_database) as address:
        store = {"kind": "sqlite"} if engine == "sqlite" else {"kind": "postgres", "url": address, "pool_size": 8}
        given = {
            "database": store,
            "ollama": {"url": NOBODY},
            "providers": [provider(openai_like, parallel=100, queue=calls, queue_timeout=100, first_token_timeout=60)],
            "cloud": priced(),
        }
        settings = Settings.model_validate(given)
        openai_like.first_token_after = 0.05
        async with open_database(settings.database, tmp_path) as database:
            await upgrade(database)
            workers = [await _worker(given, tmp_path, calls // 2) for _ in range(2)]
            while len(openai_like.chats) < calls // 8:  # noqa: ASYNC110 - another process's
                await asyncio.sleep(0.01)
            workers[0].send_signal(signal.SIGKILL)
            said: list[list[str]] = [(await worker.communicate())[0].decode().split() for worker in workers]
            assert len(said[0]) < calls // 2
            assert len(said[1]) == calls // 2
            await _check(database, openai_like)
        print(f"{engine}: {calls} calls, answered by {Counter([*said[0], *said[1]])}")  # noqa: T201 - a figure to read


async def _check(database: Database, server: OpenAILike) -> None:
    """The account's sum is its counter, no more than the dollar, and no less than what the provider worked for."""
    async with database.read() as connection:
        total = (await connection.execute(select(func.sum(spendings.c.nano_dollars)))).scalar_one()
        states = (await connection.execute(select(spendings.c.state, func.count()).group_by(spendings.c.state))).all()
        held = (await connection.execute(select(budgets.c.held))).scalars().all()
    billed = sum(_billed(call.body, call.tokens_sent) for call in server.chats)
    counted = {str(state): int(count) for state, count in states}
    print(f"spent {total / NANO:.4f}, worked for {billed / NANO:.4f} US dollars; {counted}")  # noqa: T201
    assert set(held) == {total}
    assert billed <= total <= NANO


def _most() -> int:
    return DOLLARS.nano(sum(len(message.text) + 16 for message in REQUEST.messages), 30)


def _billed(body: dict[str, Any], written: int) -> int:
    read = len("\n".join(message["content"] for message in body["messages"])) // 4
    return DOLLARS.nano(read, written)


async def _worker(given: dict[str, Any], folder: Path, calls: int) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "tests.inference.spending", json.dumps(given), str(folder), str(calls)]
    return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)


def _address(engine: str, request: pytest.FixtureRequest, fresh: Any) -> Any:
    from contextlib import nullcontext

    return nullcontext("") if engine == "sqlite" else fresh(request.getfixturevalue("postgres_url"))
