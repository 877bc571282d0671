"""Too many requests at once: some wait a moment, the rest are told to come back; nobody else notices."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from prometheus_client import REGISTRY

from aegis.errors import Overloaded
from aegis.settings import AdmissionSettings, Settings
from api.admission import Gate
from tests.api.conftest import Open, served

SEARCH = "/api/v1/retrieval/search"


class SlowSearcher:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.most = self.now = 0

    async def search(self, *_: Any) -> list[Any]:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.now -= 1
        return []


def settings(at_once: int, patience: float) -> Settings:
    return Settings(_env_file=None, admission=AdmissionSettings(searches=at_once, patience=patience))  # pyright: ignore[reportCallIssue]  # pydantic-settings' own


async def test_a_few_at_a_time_and_the_rest_in_turn(client_of: Open) -> None:
    searcher = SlowSearcher(0.02)
    client = await client_of(served(settings=settings(2, 5), searcher=searcher))
    answers = await asyncio.gather(*(client.post(SEARCH, json={"query": "a"}) for _ in range(20)))
    assert [answer.status_code for answer in answers] == [200] * 20
    assert searcher.most == 2


async def test_what_cannot_be_answered_in_time_is_refused_early(client_of: Open) -> None:
    searcher = SlowSearcher(0.3)
    client = await client_of(served(settings=settings(2, 0.05), searcher=searcher))
    shed = _shed()
    answers = await asyncio.gather(*(client.post(SEARCH, json={"query": "a"}) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] * 2 + [503] * 8
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["error"]["code"] == "overloaded"
    assert refused.json()["error"]["request_id"] == refused.headers["x-request-id"]
    assert _shed() == shed + 8
    assert (await client.post(SEARCH, json={"query": "a"})).status_code == 200  # it has passed


async def test_a_flood_of_searches_stops_nothing_else(client_of: Open) -> None:
    client = await client_of(served(settings=settings(1, 5), searcher=SlowSearcher(1.5)))
    flood = asyncio.create_task(client.post(SEARCH, json={"query": "a"}))
    await asyncio.sleep(0.05)
    began = time.monotonic()
    assert (await client.get("/health")).status_code == 200
    assert time.monotonic() - began < 1.2
    assert (await flood).status_code == 200


async def test_a_wait_that_is_sure_to_be_too_long_is_not_begun() -> None:
    gate = Gate("search", 1, 1.0)

    async def work(seconds: float) -> float:
        began = time.monotonic()
        try:
            async with gate.admitted():
                await asyncio.sleep(seconds)
        except Overloaded:
            return time.monotonic() - began
        return -1

    for _ in range(30):
        await work(0.02)
    first = asyncio.create_task(work(0.2))
    await asyncio.sleep(0)
    crowd = [asyncio.create_task(work(0.001)) for _ in range(200)]
    refused = [waited for waited in await asyncio.gather(*crowd) if waited >= 0]
    assert len(refused) > 100
    assert max(refused) < 0.9  # at once, not after a second
    assert await first == -1


async def test_whoever_leaves_the_queue_leaves_no_gap() -> None:
    gate = Gate("search", 1, 5)
    async with gate.admitted():
        waiting = asyncio.create_task(gate.admitted().__aenter__())
        await asyncio.sleep(0.01)
        assert gate.waiting == 1
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert gate.waiting == 0
    async with asyncio.timeout(1), gate.admitted():
        pass


def _shed() -> float:
    return REGISTRY.get_sample_value("aegis_shed_requests_total", {"kind": "search"}) or 0.0
