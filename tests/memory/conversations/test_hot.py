"""The contract of the hot tier, in the process and in Redis; and Redis away, slow, emptied."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
from pydantic import SecretStr

from aegis.database.redis import open_redis
from aegis.scope import new_id
from aegis.settings import RedisSettings
from memory.conversations import Turn
from memory.conversations.hot import TTL, Block, HotTier, ProcessHot
from memory.conversations.hot_redis import RedisHot, decoded, encoded, open_redis_hot
from tests.memory.conversations.talks import answered, asked
from tests.servers import free_port


def settings_of(url: str) -> RedisSettings:
    return RedisSettings(kind="redis", url=SecretStr(url), prefix=f"test-{new_id()}:")


@pytest.fixture(params=["process", pytest.param("redis", marks=pytest.mark.servers)])
async def hot(request: pytest.FixtureRequest) -> AsyncGenerator[HotTier]:
    if request.param == "process":
        yield ProcessHot()
        return
    async with open_redis_hot(settings_of(request.getfixturevalue("redis_url"))) as opened:
        yield opened


def block(*turns: Turn, version: int = 1) -> Block:
    return Block(version, turns)


async def test_a_block_comes_back_whole_until_it_is_dropped(hot: HotTier) -> None:
    turn = replace(answered(asked("Wie heißt das? 👋")), feedback={"value": 1})
    await hot.put(turn.conversation_id, block(turn, version=7))
    assert await hot.get(turn.conversation_id) == block(turn, version=7)
    await hot.put(turn.conversation_id, block(version=8))
    assert await hot.get(turn.conversation_id) == block(version=8)
    await hot.drop([turn.conversation_id, new_id()])
    assert await hot.get(turn.conversation_id) is None
    assert await hot.get(new_id()) is None


async def test_in_the_process_a_block_lives_an_hour_after_its_last_use() -> None:
    now = [0.0]
    hot = ProcessHot(lambda: now[0])
    await hot.put("a", block())
    now[0] = TTL - 1
    assert await hot.get("a") == block()
    now[0] += TTL - 1
    assert await hot.get("a") == block()
    now[0] += TTL + 1
    assert await hot.get("a") is None


@pytest.mark.servers
async def test_every_key_has_our_prefix_and_ends_an_hour_after_its_last_use(redis_url: str) -> None:
    settings = settings_of(redis_url)
    async with open_redis(settings) as client, open_redis_hot(settings) as hot:
        await hot.put("a", block(answered(asked())))
        [key] = [key async for key in client.scan_iter(f"{settings.prefix}*")]
        assert TTL - 5 < await client.ttl(key) <= TTL
        await client.expire(key, 10)
        await hot.get("a")
        assert TTL - 5 < await client.ttl(key) <= TTL
        await client.set(key, b"not ours", ex=60)
        assert await hot.get("a") is None


def test_bytes_that_are_no_block_are_passed_over() -> None:
    good = encoded(block(answered(asked())))
    assert good is not None
    assert decoded(good) is not None
    for wrong in (b"", b"x", good[:-3], encoded_json(b"[1]"), encoded_json(b'[1,[{"id":"x"}]]'), encoded_json(b"nul")):
        assert decoded(wrong) is None


def test_a_block_that_unpacks_to_very_much_is_not_unpacked() -> None:
    assert decoded(encoded_json(b" " * 50_000_000)) is None
    assert encoded(block(replace(answered(asked()), answer="x" * 2_000_000))) is None


def encoded_json(data: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor().compress(data)


async def test_a_server_that_is_away_is_not_asked_again_for_a_while() -> None:
    now = [0.0]
    settings = settings_of(f"redis://127.0.0.1:{free_port()}/0")
    async with open_redis(settings) as client:
        hot = RedisHot(client, settings, lambda: now[0])
        assert await hot.get("a") is None
        begun = time.perf_counter()
        for _ in range(1000):
            await hot.put("a", block())
            assert await hot.get("a") is None
        assert time.perf_counter() - begun < 2


async def test_a_server_that_does_not_answer_costs_one_short_wait() -> None:
    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with open_redis_hot(settings_of(f"redis://127.0.0.1:{port}/0")) as hot:
        begun = time.perf_counter()
        for _ in range(20):
            assert await hot.get("a") is None
        assert time.perf_counter() - begun < 1
    server.close()
