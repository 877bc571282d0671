"""What every store of answers, and every store of question vectors, keeps to."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from aegis.database.redis import open_redis
from aegis.scope import derived_id
from aegis.settings import RedisSettings
from memory.cache import Answers, Entry, Questions
from memory.cache.process import ProcessAnswers
from memory.cache.questions import ExactQuestions, StoredQuestions
from memory.cache.redis import RedisAnswers

LIMIT = 20


def entry(name: str, *rests_on: str, seconds: float = 60, key: str = "key") -> Entry:
    return Entry(
        id=derived_id("answer", key, name), key=key, question=name, asked=name, answer=f"The answer to {name}.",
        citations=[{"chunk_id": "c1", "title": "Manual"}], found=[{"chunk_id": "c1"}], read=["c1"], facts=[],
        route="retrieve", model="extractive", epoch=3, rests_on=list(rests_on) or ["v1"], turn_id="t1",
        answered_at="2026-01-01T00:00:00+00:00", expires=time.time() + seconds, path=[], notes=[],
    )  # fmt: skip


@pytest.fixture(params=["process", pytest.param("redis", marks=pytest.mark.servers)])
async def answers(request: pytest.FixtureRequest) -> AsyncGenerator[Answers]:
    if request.param == "process":
        yield ProcessAnswers(LIMIT)
        return
    url = SecretStr(request.getfixturevalue("redis_url"))
    prefix = f"test{secrets.token_hex(4)}:"
    async with open_redis(RedisSettings(kind="redis", url=url, prefix=prefix)) as client:
        yield RedisAnswers(client, prefix, LIMIT)
        keys = [key async for key in client.scan_iter(f"{prefix}*")]
        assert keys, "everything stands under the prefix"
        assert all([await client.ttl(key) > 0 for key in keys]), "and every key has a lifetime"


async def test_what_is_put_is_there_as_it_was(answers: Answers) -> None:
    put = entry("one")
    await answers.put(put)
    assert await answers.get(put.id) == put
    assert await answers.get(entry("two").id) is None


async def test_putting_again_replaces(answers: Answers) -> None:
    await answers.put(entry("one"))
    await answers.put(replace(entry("one"), epoch=9))
    found = await answers.get(entry("one").id)
    assert found is not None
    assert found.epoch == 9


async def test_what_rests_on_a_source_goes_with_it_and_nothing_else(answers: Answers) -> None:
    await answers.put(entry("one", "v1", "f1"))
    await answers.put(entry("two", "v1", "v2"))
    await answers.put(entry("three", "v3"))
    assert await answers.evict(["v1", "unknown"]) == sorted([entry("one").id, entry("two").id])
    assert await answers.get(entry("one").id) is None
    assert await answers.get(entry("three").id) is not None
    assert await answers.evict([]) == []


async def test_removed(answers: Answers) -> None:
    await answers.put(entry("one"))
    await answers.put(entry("two"))
    await answers.remove([entry("one").id])
    assert await answers.get(entry("one").id) is None
    assert await answers.get(entry("two").id) is not None


async def test_the_oldest_go_where_there_are_too_many(answers: Answers) -> None:
    for number in range(LIMIT + 5):
        await answers.put(entry(f"question {number}"))
    there = [number for number in range(LIMIT + 5) if await answers.get(entry(f"question {number}").id)]
    assert there == list(range(5, LIMIT + 5))


async def test_an_answer_expires_in_the_process() -> None:
    now = time.time()
    answers = ProcessAnswers(LIMIT, clock=lambda: now + 100)
    await answers.put(entry("one", seconds=60))
    assert await answers.get(entry("one").id) is None


@pytest.mark.servers
async def test_an_answer_expires_in_redis(redis_url: str) -> None:
    async with open_redis(RedisSettings(kind="redis", url=SecretStr(redis_url))) as client:
        answers = RedisAnswers(client, "expires:", LIMIT)
        await answers.put(entry("one", seconds=60))
        assert 55 <= await client.ttl(f"expires:answer:{entry('one').id}") <= 60


@pytest.mark.servers
async def test_a_redis_without_room_or_away_only_keeps_nothing(redis_url: str) -> None:
    async with open_redis(RedisSettings(kind="redis", url=SecretStr(redis_url))) as client:
        answers = RedisAnswers(client, "full:", LIMIT)
        await answers.put(entry("one"))
        before = (await client.config_get("maxmemory"))["maxmemory"]
        await client.config_set("maxmemory", "1mb")
        try:
            full = RedisAnswers(client, "full:", LIMIT)
            await full.put(entry("two"))
            assert await full.get(entry("two").id) is None
        finally:
            await client.config_set("maxmemory", before)
    away = RedisSettings(kind="redis", url=SecretStr("redis://127.0.0.1:9/0"))
    async with open_redis(away) as client:
        gone = RedisAnswers(client, "away:", LIMIT)
        started = time.perf_counter()
        await gone.put(entry("one"))
        assert await gone.get(entry("one").id) is None
        assert await gone.evict(["v1"]) == []
        assert time.perf_counter() - started < 3


@pytest.fixture(params=["exact", "server"])
async def questions(request: pytest.FixtureRequest) -> AsyncGenerator[Questions]:
    if request.param == "exact":
        yield ExactQuestions(LIMIT)
        return
    from qdrant_client import AsyncQdrantClient

    from retrieval.store.server import QdrantStore

    client = AsyncQdrantClient(":memory:")
    store = QdrantStore(client, "questions", 4)
    await store.prepare()
    yield StoredQuestions(store, LIMIT)
    await client.close()


def unit(*values: float) -> Any:
    vector = np.array(values, np.float32)
    return vector / np.linalg.norm(vector)


async def test_the_nearest_of_one_key_and_no_other(questions: Questions) -> None:
    ids = [derived_id("answer", name) for name in ("a", "b", "c")]
    await questions.add("mine", ids[0], unit(1, 0, 0, 0))
    await questions.add("mine", ids[1], unit(1, 1, 0, 0))
    await questions.add("yours", ids[2], unit(1, 0, 0, 0))
    found = await questions.near("mine", unit(1, 0.1, 0, 0), 5)
    assert [scored.id for scored in found] == ids[:2]
    assert found[0].score == pytest.approx(0.995, abs=0.01)
    assert await questions.near("nobody's", unit(1, 0, 0, 0), 5) == []
    await questions.remove([ids[0], derived_id("answer", "unknown")])
    assert [scored.id for scored in await questions.near("mine", unit(1, 0, 0, 0), 5)] == ids[1:2]


async def test_questions_are_bounded() -> None:
    questions = ExactQuestions(LIMIT)
    for number in range(LIMIT + 5):
        await questions.add(f"key {number % 3}", derived_id("answer", number), unit(1, number, 0, 0))
    found = [await questions.near(f"key {key}", unit(1, 1, 0, 0), 100) for key in range(3)]
    assert sum(map(len, found)) == LIMIT


async def test_questions_that_come_and_go_leave_the_others_where_they_are() -> None:
    """Against a plain scan: rows move up in one matrix when one goes, and it grows with others in it."""
    chance = np.random.default_rng(3)
    questions, kept = ExactQuestions(200), dict[str, Any]()
    for step in range(400):
        if kept and chance.random() < 0.3:
            gone = str(chance.choice(list(kept)))
            del kept[gone]
            await questions.remove([gone])
        else:
            name = str(chance.integers(80))
            kept.pop(name, None)
            kept[name] = chance.standard_normal(8).astype(np.float32)
            await questions.add("key", name, kept[name])
        asked = chance.standard_normal(8).astype(np.float32)
        wanted = sorted(kept, key=lambda name: -float(kept[name] @ asked))[:5]
        found = await questions.near("key", asked, 5)
        assert [scored.id for scored in found] == wanted, step
