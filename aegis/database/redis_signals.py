"""Signals through Redis or Valkey: one channel under our prefix, published to and subscribed by every replica.

No key is ever written. Without the server replicas find out by looking, as they do without Redis; it is tried again
until it answers, and then everybody looks once, for what was missed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, get_args

from aegis import telemetry
from aegis.database.redis import open_redis
from aegis.database.signals import React, Topic
from aegis.errors import Unavailable
from aegis.scope import new_id
from aegis.settings import RedisSettings

PATIENCE = 5.0  # seconds between attempts at a server that stays away, at most
BEAT = 5.0  # seconds of silence after which the subscription is tested

logger = logging.getLogger(__name__)


class RedisSignals:
    """Over a client that somebody else closes. Nothing is sent or heard outside `running`."""

    def __init__(self, client: Any, settings: RedisSettings) -> None:
        self._client = client
        self._channel = f"{settings.prefix}signals"
        self._timeout = settings.timeout
        self._me = new_id()
        self._reactions: dict[Topic, list[React]] = defaultdict(list)
        self._due: set[Topic] = set()  # many signals of one kind at once are one
        self._to_send = asyncio.Event()
        self._away = False

    def send(self, topic: Topic) -> None:
        self._due.add(topic)
        self._to_send.set()

    def listen(self, topic: Topic, react: React) -> None:
        self._reactions[topic].append(react)

    async def ping(self) -> None:
        """Raises Unavailable."""
        from redis.exceptions import RedisError

        try:
            async with asyncio.timeout(self._timeout):
                await self._client.ping()
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"Redis does not answer: {type(error).__name__}: {error}") from error

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        tasks = [asyncio.create_task(self._hear_for_ever()), asyncio.create_task(self._send_for_ever())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_for_ever(self) -> None:
        from redis.exceptions import RedisError

        while True:
            await self._to_send.wait()
            self._to_send.clear()
            due, self._due = self._due, set()
            try:
                async with asyncio.timeout(self._timeout):
                    for topic in sorted(due):
                        await self._client.publish(self._channel, f"{self._me} {topic}")
            except (RedisError, OSError, TimeoutError) as error:
                self._lost(error)  # what was due is forgotten: the others find it by looking

    async def _hear_for_ever(self) -> None:
        from redis.exceptions import RedisError

        pause = 0.1
        while True:
            try:
                async with self._client.pubsub() as subscription:
                    async with asyncio.timeout(self._timeout):
                        await subscription.subscribe(self._channel)
                        await subscription.get_message(timeout=self._timeout)  # that it is subscribed
                    self._found()
                    pause = 0.1
                    await self._hear(subscription)
            except (RedisError, OSError, TimeoutError) as error:
                self._lost(error)
            await asyncio.sleep(pause)
            pause = min(PATIENCE, pause * 2)

    async def _hear(self, subscription: Any) -> None:
        """Returns never; raises when the server has gone, also without a word."""
        asked = False
        while True:
            wait = self._timeout if asked else BEAT
            message = await subscription.get_message(ignore_subscribe_messages=True, timeout=wait)
            if message is None and asked:
                raise TimeoutError(f"no answer within {wait:g} s")
            asked = message is None
            if message is None:
                async with asyncio.timeout(self._timeout):
                    await subscription.ping()
            elif message["type"] == "message":
                self._react(message["data"])

    def _react(self, data: bytes) -> None:
        """Whatever else stands in the channel is passed over."""
        sender, _, name = data.decode(errors="replace").partition(" ")
        if sender == self._me:
            return
        for topic in get_args(Topic):
            if topic == name:
                self._call(topic)

    def _call(self, topic: Topic) -> None:
        for react in self._reactions[topic]:
            react()

    def _found(self) -> None:
        if self._away:
            logger.info("Redis answers again")
        self._away = False
        for topic in get_args(Topic):
            self._call(topic)

    def _lost(self, error: Exception) -> None:
        if not self._away:
            telemetry.BACKEND_FAILURES.labels(backend="redis").inc()
            logger.warning("Redis does not answer; replicas find out by looking: %s: %s", type(error).__name__, error)
        self._away = True


@asynccontextmanager
async def open_redis_signals(settings: RedisSettings) -> AsyncGenerator[RedisSignals]:
    """Connects in the background: a server that is away keeps nobody from starting."""
    async with open_redis(settings) as client:
        signals = RedisSignals(client, settings)
        async with signals.running():
            yield signals
