"""A real Redis killed, restarted empty and full to the brim under load: no question fails, no turn is lost.

The answer cache is in use meanwhile, and its sources change: no answer is what the documents do not say any more.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from tests.servers import free_port
from tests.servers.redis import running_redis
from tests.system.application import Site, finished

TALKERS = 4
READERS = 2
ASKED = "Who maintains the boiler?"
SECONDS = 1.5  # of load in each condition


@dataclass(frozen=True)
class Read:
    """What somebody was told, and when they asked and had it."""

    answer: str
    cached: bool
    asked: float
    had: float


class Documents:
    """One document whose truth changes; when each became it, at the earliest and at the latest."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._said: list[tuple[str, float, float]] = []

    def say(self, name: str) -> None:
        text = f"The boiler is maintained by {name}. It stands in hall 3."
        with self._site.client() as client:
            earliest = time.monotonic()
            body = {"documents": [{"source": "boiler.md", "text": text}]}
            finished(client, client.post("/api/v1/retrieval/ingest", json=body).json()["job_id"])
        self._said.append((name, earliest, time.monotonic()))

    def false(self, read: Read) -> bool:
        """Whether it names somebody who was not the truth at any moment between question and answer."""
        ends = [latest for *_, latest in self._said[1:]] + [math.inf]
        truths = [
            name
            for (name, begins, _), end in zip(self._said, ends, strict=True)
            if begins <= read.had and read.asked <= end
        ]
        named = [name for name, *_ in self._said if name in read.answer]
        return not named or not set(named) <= set(truths)


class Load:
    """Some people who talk at once, each in a conversation of their own, and some who ask the documents."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.read: list[Read] = []
        self._stop = threading.Event()
        self.failed = list[Any]()
        self.said: dict[str, list[str]] = {}
        self._threads = [threading.Thread(target=self._talk, args=(number,)) for number in range(TALKERS)]
        self._threads += [threading.Thread(target=self._look_up) for _ in range(READERS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _talk(self, talker: int) -> None:
        number, talk = 0, None
        with self._site.client() as client:
            while not self._stop.is_set():
                question = f"Hello, this is {talker}, message {number}."
                body = {"question": question} | ({"conversation_id": talk} if talk else {})
                answer = client.post("/api/v1/chat", json=body)
                if answer.status_code != 200:
                    self.failed.append(answer.text)
                    return
                talk = answer.json()["conversation_id"]
                self.said.setdefault(talk, []).append(question)
                number += 1

    def _look_up(self) -> None:
        with self._site.client() as client:
            while not self._stop.is_set():
                asked = time.monotonic()
                answer = client.post("/api/v1/chat", json={"question": ASKED})
                if answer.status_code != 200:
                    self.failed.append(answer.text)
                    return
                told = answer.json()
                self.read.append(Read(told["answer"], bool(told["cached"]), asked, time.monotonic()))


def fill_up(url: str) -> None:
    """8 MB, and not a byte more: nothing may be evicted."""
    with redis.Redis.from_url(url) as client:
        client.config_set("maxmemory", "8mb")
        client.config_set("maxmemory-policy", "noeviction")
        size = 100_000
        while size > 10:
            try:
                client.set(f"junk:{time.monotonic_ns()}", b"x" * size)
            except redis.ResponseError:
                size //= 4


def asked(client: httpx.Client, talk: str) -> list[str]:
    return [turn["question"] for turn in client.get(f"/api/v1/conversations/{talk}?limit=500").json()["turns"]]


@pytest.mark.servers
def test_no_question_fails_and_no_turn_is_lost_whatever_redis_does(tmp_path: Path) -> None:
    port = free_port()
    with running_redis(port) as url:
        site = Site(tmp_path / "var", {"AEGIS_CACHE__KIND": "redis", "AEGIS_CACHE__URL": url})
        site.start()
        documents = Documents(site)
        documents.say("Anna Berg")
        with site.client() as client:
            for cached in (False, True):
                assert bool(client.post("/api/v1/chat", json={"question": ASKED}).json()["cached"]) is cached
    try:  # that Redis is killed now
        with Load(site) as load:
            documents.say("Jon Dahl")
            time.sleep(SECONDS)
            with running_redis(port):  # again, empty
                time.sleep(SECONDS)
                documents.say("Mia Holm")
                eventually_used(url)
                fill_up(url)
                documents.say("Leo Lund")
                time.sleep(SECONDS)
            documents.say("Eva Moe")
            time.sleep(SECONDS)
        assert load.failed == []
        assert sum(map(len, load.said.values())) > TALKERS * 4
        assert [read for read in load.read if documents.false(read)] == []
        assert sum(read.cached for read in load.read) > len(load.read) / 2
        with site.client() as client:
            assert {talk: asked(client, talk) for talk in load.said} == load.said
    finally:
        site.stop()


def eventually_used(url: str) -> None:
    """Conversations stand there under our prefix, each with an end to its life."""
    with redis.Redis.from_url(url) as client:
        until = time.monotonic() + 40
        while not (keys := list(client.scan_iter("aegis:turns:*"))):
            assert time.monotonic() < until, "nothing was kept in Redis after it came back"
            time.sleep(0.1)
        assert all(0 < client.ttl(key) <= 3600 for key in keys)
