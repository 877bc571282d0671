"""The one opener of connections to Redis or Valkey: signals, hot conversations and cached answers use it alike.

Every key of ours starts with `settings.prefix` and has a lifetime; nothing of anybody else's is touched, and nothing is
ever flushed.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from aegis.errors import ConfigurationError
from aegis.settings import RedisSettings


@asynccontextmanager
async def open_redis(settings: RedisSettings, connections: int = 8) -> AsyncGenerator[Any]:
    """A `redis.asyncio.Redis` over bytes, with a pool of its own. It connects with its first command, and fails in it:
    a server that is away keeps nobody from starting. Raises ConfigurationError for an address that is none."""
    client = _client(settings, connections)
    try:
        yield client
    finally:
        with contextlib.suppress(OSError):
            await client.aclose()


def _client(settings: RedisSettings, connections: int) -> Any:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    try:
        return Redis.from_url(  # pyright: ignore[reportUnknownMemberType]  # redis has partial types here
            settings.url.get_secret_value(),
            socket_connect_timeout=settings.timeout,
            socket_timeout=settings.timeout,
            max_connections=connections,
            retry=Retry(NoBackoff(), 0),  # a reconnect behind our back would hide that signals were missed
        )
    except ValueError as error:
        raise ConfigurationError(f"AEGIS_CACHE__URL cannot be used: {error}") from error
