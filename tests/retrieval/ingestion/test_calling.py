"""Calls to workers on a real Redis: each is answered once; one that cannot be sent disturbs nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from aegis.scope import new_id
from aegis.settings import RedisSettings
from retrieval.ingestion.calling import answer, open_caller
from tests.servers import free_port
from tests.servers.redis import running_redis

pytestmark = pytest.mark.servers


@asynccontextmanager
async def answering(settings: RedisSettings, work: Callable[[str], Awaitable[None]]) -> AsyncGenerator[None]:
    task = asyncio.create_task(answer(settings, work, 4))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def heard(into: list[str], count: int) -> None:
    async with asyncio.timeout(30):
        while len(into) < count:  # noqa: ASYNC110 - what is tested
            await asyncio.sleep(0.02)


async def test_each_call_is_answered_by_one_worker(redis_url: str) -> None:
    settings = RedisSettings(kind="redis", url=SecretStr(redis_url), prefix=f"{new_id()}:")
    told: list[str] = []

    async def work(job_id: str) -> None:
        told.append(job_id)

    async with open_caller(settings) as caller:
        caller.call("before there was a worker")
        async with answering(settings, work), answering(settings, work):
            await heard(told, 1)
            for number in range(20):
                caller.call(f"job {number}")
            await heard(told, 21)
            await asyncio.sleep(0.3)
    assert sorted(told) == sorted(["before there was a worker", *(f"job {number}" for number in range(20))])


async def test_calls_go_on_when_redis_is_back() -> None:
    port = free_port()
    told: list[str] = []

    async def work(job_id: str) -> None:
        told.append(job_id)

    settings = RedisSettings(kind="redis", url=SecretStr(f"redis://127.0.0.1:{port}/0"), timeout=1)
    async with open_caller(settings) as caller, answering(settings, work):
        caller.call("lost")  # there is no Redis yet
        await asyncio.sleep(0.5)
        for name in ("first", "second"):
            with running_redis(port):
                async with asyncio.timeout(90):
                    while name not in told:
                        caller.call(name)
                        await asyncio.sleep(0.5)
    assert "lost" not in told
