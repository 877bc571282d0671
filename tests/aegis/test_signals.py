"""Signals between replicas through a real Redis, and what happens while it is away."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from aegis.database.redis_signals import RedisSignals, open_redis_signals
from aegis.database.signals import NoSignals, Topic
from aegis.errors import ConfigurationError, Unavailable
from aegis.settings import RedisSettings
from tests.servers import free_port
from tests.servers.redis import running_redis


def settings(url: str, prefix: str = "test:") -> RedisSettings:
    return RedisSettings(kind="redis", url=SecretStr(url), prefix=prefix, timeout=1)


class Heard:
    def __init__(self) -> None:
        self.topics: list[str] = []

    def by(self, topic: Topic) -> Callable[[], None]:
        return lambda: self.topics.append(topic)

    async def comes(self, topic: str, seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while topic not in self.topics:  # noqa: ASYNC110 - reactions are plain functions
                await asyncio.sleep(0.005)


@asynccontextmanager
async def replica(url: str, prefix: str) -> AsyncGenerator[tuple[RedisSignals, Heard]]:
    heard = Heard()
    async with open_redis_signals(settings(url, prefix)) as signals:
        for topic in ("outbox", "applied", "jobs", "epoch"):
            signals.listen(topic, heard.by(topic))
        yield signals, heard


async def subscribed(heard: Heard) -> None:
    """Once it has subscribed, everybody is told to look."""
    await heard.comes("epoch")
    heard.topics.clear()


def test_alone() -> None:
    signals, heard = NoSignals(), Heard()
    signals.listen("jobs", heard.by("jobs"))
    signals.send("jobs")
    assert heard.topics == []


@pytest.mark.servers
async def test_others_hear_at_once(redis_url: str) -> None:
    prefix = f"{secrets.token_hex(4)}:"
    async with replica(redis_url, prefix) as (one, own), replica(redis_url, prefix) as (_two, other):
        async with replica(redis_url, f"{prefix}x:") as (_three, stranger):
            for heard in (own, other, stranger):
                await subscribed(heard)
            one.send("jobs")
            await other.comes("jobs", 1)
            one.send("epoch")
            await other.comes("epoch", 1)
        assert "jobs" not in own.topics  # not oneself
        assert stranger.topics == []  # another installation on the same server
        await one.ping()


@pytest.mark.servers
async def test_foreign_messages_and_floods(redis_url: str) -> None:
    from redis.asyncio import Redis

    prefix = f"{secrets.token_hex(4)}:"
    async with replica(redis_url, prefix) as (one, _own), replica(redis_url, prefix) as (_two, other):
        await subscribed(other)
        async with Redis.from_url(redis_url) as client:  # pyright: ignore[reportUnknownMemberType]  # partial types
            for message in (b"\xff\xfe\x00", b"", b"x drop everything", b"x " * 10_000):
                await client.publish(f"{prefix}signals", message)
            for _ in range(10_000):
                one.send("outbox")
            await other.comes("outbox")
            await asyncio.sleep(0.1)
            assert set(other.topics) == {"outbox"}
            assert len(other.topics) < 100  # many at once are one
            assert [key async for key in client.scan_iter(f"{prefix}*")] == []


@pytest.mark.servers
async def test_redis_gone_and_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aegis")
    port = free_port()
    with running_redis(port) as url:
        pair = replica(url, "p:"), replica(url, "p:")
        one, own = await pair[0].__aenter__()
        _two, other = await pair[1].__aenter__()
        await subscribed(other)
        await subscribed(own)
    try:
        for _ in range(20):
            one.send("jobs")
            await asyncio.sleep(0.02)
        with pytest.raises(Unavailable, match="Redis does not answer"):
            await one.ping()
        assert other.topics == []
        assert sum("replicas find out" in record.message for record in caplog.records) == 2  # once each
        with running_redis(port):
            await other.comes("jobs", 15)  # what was missed meanwhile: everybody looks
            await own.comes("epoch", 15)
            other.topics.clear()
            one.send("jobs")
            await other.comes("jobs", 1)
            await one.ping()
        assert sum("answers again" in record.message for record in caplog.records) == 2
    finally:
        await pair[0].__aexit__(None, None, None)
        await pair[1].__aexit__(None, None, None)


async def test_starts_without_redis() -> None:
    async with replica(f"redis://127.0.0.1:{free_port()}/0", "p:") as (signals, _heard):
        signals.send("jobs")
        with pytest.raises(Unavailable):
            await signals.ping()


async def test_wrong_address_is_a_setting() -> None:
    with pytest.raises(ConfigurationError, match="AEGIS_CACHE__URL"):
        async with open_redis_signals(settings("http://127.0.0.1:1")):
            pass
