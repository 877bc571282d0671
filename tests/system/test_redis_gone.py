"""A real Redis killed, restarted empty and full to the brim under load: no question fails, no turn is lost."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from tests.servers import free_port
from tests.servers.redis import running_redis
from tests.system.application import Site

TALKERS = 4
SECONDS = 1.5  # of load in each condition


class Load:
    """Some people who talk at once, each in a conversation of their own."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._stop = threading.Event()
        self.failed = list[Any]()
        self.said: dict[str, list[str]] = {}
        self._threads = [threading.Thread(target=self._talk, args=(number,)) for number in range(TALKERS)]

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
    try:  # that Redis is killed now
        with Load(site) as load:
            time.sleep(SECONDS)
            with running_redis(port):  # again, empty
                time.sleep(SECONDS)
                eventually_used(url)
                fill_up(url)
                time.sleep(SECONDS)
            time.sleep(SECONDS)
        assert load.failed == []
        assert sum(map(len, load.said.values())) > TALKERS * 4
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
