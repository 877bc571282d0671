"""Part of the composition root: how replicas wake each other."""

from __future__ import annotations

from contextlib import AsyncExitStack

from aegis.database.signals import NoSignals, Signals
from aegis.settings import RedisSettings, Settings


async def open_signals(settings: Settings, stack: AsyncExitStack) -> Signals:
    if not isinstance(settings.cache, RedisSettings):
        return NoSignals()
    from aegis.database.redis_signals import open_redis_signals

    return await stack.enter_async_context(open_redis_signals(settings.cache))
