"""The hot tier in Redis or Valkey, shared by all replicas: one compressed block for each conversation.

Every key has our prefix and a time to live, so `volatile-lru` may evict it at any time; nothing else is touched. A
server that is away, slow or full is left alone for a while (`Circuit`), so that answers never wait for it twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson

from aegis import telemetry
from aegis.database.redis import open_redis
from aegis.settings import RedisSettings
from memory.conversations.hot import TTL, Block
from memory.conversations.record import packed, unpacked

LEVEL = 3  # of zstandard: .03 ms a block
FORM = 1  # in every key: another form is not met
MOST_BYTES = 1_000_000  # of a block, uncompressed; a larger one is not worth its place
PATIENCE = 0.25  # seconds a call may take; the relational store answers in a few milliseconds
PAUSE, LONGEST_PAUSE = 0.5, 4.0  # seconds a server is left alone after a failure, doubled each time

logger = logging.getLogger(__name__)


class Circuit:
    """Whether a server may be asked. Open after a failure, for longer each time until it answers again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pause = PAUSE
        self._until = 0.0

    @property
    def open(self) -> bool:
        return self._clock() < self._until

    def failed(self) -> bool:
        """True when this is the first failure after all was well."""
        first = self._pause == PAUSE
        self._until = self._clock() + self._pause
        self._pause = min(LONGEST_PAUSE, self._pause * 2)
        return first

    def attempt(self, seconds: float) -> None:
        """After a failure one caller at a time finds out whether it is over; the others pass by meanwhile."""
        if self._pause != PAUSE:
            self._until = self._clock() + seconds

    def answered(self) -> None:
        self._pause, self._until = PAUSE, 0.0


class RedisHot:
    """Over a client that somebody else closes."""

    def __init__(self, client: Any, settings: RedisSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._prefix = f"{settings.prefix}turns:{FORM}:"
        self._patience = min(settings.timeout, PATIENCE)
        self._circuit = Circuit(clock)

    async def get(self, conversation_id: str) -> Block | None:
        data = await self._asked(lambda: self._client.getex(self._key(conversation_id), ex=TTL))
        return None if data is None else decoded(data)

    async def put(self, conversation_id: str, block: Block) -> None:
        data = encoded(block)
        if data is None:
            await self.drop([conversation_id])
        else:
            await self._asked(lambda: self._client.set(self._key(conversation_id), data, ex=TTL))

    async def drop(self, conversation_ids: Sequence[str]) -> None:
        if conversation_ids:
            keys = [self._key(conversation_id) for conversation_id in conversation_ids]
            await self._asked(lambda: self._client.unlink(*keys))

    def _key(self, conversation_id: str) -> str:
        return self._prefix + conversation_id

    async def _asked(self, call: Callable[[], Awaitable[Any]]) -> Any:
        from redis.exceptions import RedisError

        if self._circuit.open:
            return None
        self._circuit.attempt(self._patience)
        try:
            async with asyncio.timeout(self._patience):
                answer = await call()
        except (RedisError, OSError, TimeoutError) as error:
            self._lost(error)
            return None
        self._circuit.answered()
        return answer

    def _lost(self, error: Exception) -> None:
        telemetry.BACKEND_FAILURES.labels(backend="redis").inc()
        if self._circuit.failed():
            kind = type(error).__name__
            logger.warning("The hot tier is passed over, turns come from the relational store: %s: %s", kind, error)


def encoded(block: Block) -> bytes | None:
    """None when it is too large."""
    import zstandard

    plain = orjson.dumps([block.version, [packed(turn) for turn in block.turns]])
    return zstandard.ZstdCompressor(level=LEVEL).compress(plain) if len(plain) <= MOST_BYTES else None


def decoded(data: bytes) -> Block | None:
    """None for bytes that are not ours, however they came there."""
    import zstandard

    try:
        if zstandard.frame_content_size(data) > MOST_BYTES:
            return None
        version, turns = orjson.loads(zstandard.ZstdDecompressor().decompress(data, max_output_size=MOST_BYTES))
        return Block(int(version), tuple(unpacked(turn) for turn in turns))
    except (zstandard.ZstdError, ValueError, TypeError, KeyError, AttributeError):
        return None


@asynccontextmanager
async def open_redis_hot(settings: RedisSettings) -> AsyncGenerator[RedisHot]:
    """Connects when it is first asked: a server that is away keeps nobody from starting."""
    async with open_redis(settings, connections=128) as client:
        yield RedisHot(client, settings)
