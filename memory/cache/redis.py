"""Answers in Redis or Valkey, shared by replicas. Every key has a lifetime and our prefix; nothing else is touched.

`answer:ID` is an entry, compressed. `rests:SOURCE` is the set of ids that rest on a version, fact or conversation.
`answers` orders ids by when they were put, which bounds how many there are.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, TypeVar

from aegis import telemetry
from aegis.errors import InvalidInput
from memory.cache import Entry, packed, unpacked

PATIENCE = 5.0  # seconds that a server which failed is left alone, so that nobody waits for it
SLOWEST = 0.5  # seconds a command may take: asking again is not much slower

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")


class RedisAnswers:
    """Over a client that somebody else closes. A server that is away, empty or full only makes answers slower."""

    def __init__(self, client: Any, prefix: str, limit: int) -> None:
        self._client = client
        self._prefix = prefix
        self._limit = limit
        self._away_until = 0.0

    async def get(self, id: str) -> Entry | None:
        data = await self._try(lambda: self._client.get(self._entry(id)), None)
        if data is None:
            return None
        try:
            return unpacked(data)
        except InvalidInput:  # another version's
            return None

    async def put(self, entry: Entry) -> None:
        await self._try(lambda: self._put(entry), None)

    async def evict(self, sources: Collection[str]) -> list[str]:
        return await self._try(lambda: self._evict(sources), [])

    async def remove(self, ids: Collection[str]) -> None:
        if ids:
            await self._try(lambda: self._remove(list(ids)), None)

    async def _put(self, entry: Entry) -> None:
        seconds = max(1, round(entry.expires - time.time()))
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.set(self._entry(entry.id), packed(entry), ex=seconds)
            for source in entry.rests_on:
                pipe.sadd(self._rests(source), entry.id)
                pipe.expire(self._rests(source), seconds, nx=True)
                pipe.expire(self._rests(source), seconds, gt=True)
            pipe.zadd(self._all, {entry.id: time.time()})
            pipe.expire(self._all, 2 * 86_400)
            pipe.zrange(self._all, 0, -self._limit - 1)
            *_, beyond = await pipe.execute()
        if beyond:
            await self._remove([id.decode() for id in beyond])

    async def _remove(self, ids: Sequence[str]) -> None:
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.unlink(*map(self._entry, ids))
            pipe.zrem(self._all, *ids)
            await pipe.execute()

    async def _evict(self, sources: Collection[str]) -> list[str]:
        if not sources:
            return []
        async with self._client.pipeline(transaction=False) as pipe:
            for source in sources:
                pipe.smembers(self._rests(source))
            gone = sorted({id.decode() for ids in await pipe.execute() for id in ids})
        await self._client.unlink(*(self._rests(source) for source in sources))
        if gone:
            await self._remove(gone)
        return gone

    async def _try(self, call: Callable[[], Awaitable[Answer]], otherwise: Answer) -> Answer:
        from redis.exceptions import RedisError

        if time.monotonic() < self._away_until:
            return otherwise
        try:
            async with asyncio.timeout(SLOWEST):
                return await call()
        except (RedisError, OSError, TimeoutError) as error:
            telemetry.BACKEND_FAILURES.labels(backend="redis").inc()
            logger.warning("Redis keeps no answers for %g s: %s: %s", PATIENCE, type(error).__name__, error)
            self._away_until = time.monotonic() + PATIENCE
            return otherwise

    def _entry(self, id: str) -> str:
        return f"{self._prefix}answer:{id}"

    def _rests(self, source: str) -> str:
        return f"{self._prefix}rests:{source}"

    @property
    def _all(self) -> str:
        return f"{self._prefix}answers"
