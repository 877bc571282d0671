"""More than the server can do: it sheds early, answers what it took, keeps everything else alive, and recovers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.servers.ollama import running_ollama_like
from tests.system.application import Site, finished, submit
from tests.system.library import files

pytestmark = pytest.mark.alone

CALLERS = 48
SECONDS = 4.0
SEARCH = "/api/v1/retrieval/search"
SLOW = " ".join(f"word{number}" for number in range(200))


def test_a_flood_is_shed_and_passes(tmp_path: Path) -> None:
    site = Site(tmp_path / "var", {"AEGIS_ADMISSION__SEARCHES": "4", "AEGIS_ADMISSION__PATIENCE": "0.05"})
    with site.running() as client:
        finished(client, submit(client, files(Path("/records"), 30)))
        statuses, accepted, health = asyncio.run(_flooded(site.url))
        assert set(statuses) == {200, 503}, statuses
        assert min(statuses.values()) > 10, statuses
        assert max(accepted) < 5.0
        assert max(health) < 2.0
        began = time.monotonic()
        assert client.post(SEARCH, json={"query": "crates"}).status_code == 200
        assert time.monotonic() - began < 5.0
    assert "Traceback" not in site.said()


async def _flooded(url: str) -> tuple[Counter[int], list[float], list[float]]:
    """Statuses, seconds of the accepted searches, seconds of the looks at /health meanwhile."""
    statuses, accepted, health = Counter[int](), list[float](), list[float]()
    until = time.monotonic() + SECONDS
    limits = httpx.Limits(max_connections=CALLERS + 2)

    async def search(client: httpx.AsyncClient) -> None:
        while time.monotonic() < until:
            began = time.monotonic()
            answer = await client.post(SEARCH, json={"query": "Who works for Copper Bay Bank?"})
            statuses[answer.status_code] += 1
            if answer.status_code == 200:
                accepted.append(time.monotonic() - began)
            else:
                assert answer.headers["retry-after"] == "1"

    async def look(client: httpx.AsyncClient) -> None:
        while time.monotonic() < until:
            began = time.monotonic()
            assert (await client.get("/health")).status_code == 200
            health.append(time.monotonic() - began)
            await asyncio.sleep(0.1)

    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False, limits=limits) as client:
        await asyncio.gather(look(client), *(search(client) for _ in range(CALLERS)))
    return statuses, accepted, health


def test_slow_answers_and_ingestion_do_not_starve_searches(tmp_path: Path) -> None:
    with running_ollama_like() as ollama:
        ollama.tokens_per_second = 5
        ollama.script.extend([SLOW] * 30)
        site = Site(tmp_path / "var", {"AEGIS_OLLAMA__URL": ollama.url, "AEGIS_CHAT__MAX_RUNNING": "20"})
        with site.running() as client:
            finished(client, submit(client, files(Path("/records"), 30)))
            job = submit(client, files(Path("/more"), 60, seed=9))
            statuses, slowest = asyncio.run(_beside_chats(site.url))
            assert statuses["chat 200"] == 20
            assert statuses["chat 503"] == 10  # more than it answers at a time
            assert statuses["search 200"] > 5
            assert slowest < 3.0
            assert finished(client, job)["state"] == "done"


async def _beside_chats(url: str) -> tuple[Counter[str], float]:
    """30 questions to a slow model, left after a while, and searches one after the other beside them."""
    seen, slowest = Counter[str](), 0.0

    async def chat(client: httpx.AsyncClient) -> None:
        body = {"question": "Who works for Copper Bay Bank?"}
        async with client.stream("POST", "/api/v1/chat/stream", json=body) as answer:
            seen[f"chat {answer.status_code}"] += 1
            if answer.status_code == 200:
                await asyncio.sleep(5)
            else:
                assert int(answer.headers["retry-after"]) >= 1

    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        chats = [asyncio.create_task(chat(client)) for _ in range(30)]
        until = time.monotonic() + 5
        while time.monotonic() < until:
            began = time.monotonic()
            answer = await client.post(SEARCH, json={"query": "ledger crates"})
            seen[f"search {answer.status_code}"] += 1
            slowest = max(slowest, time.monotonic() - began)
            await asyncio.sleep(0.05)
        await asyncio.gather(*chats)
    return seen, slowest
