"""A circuit breaker for one server: after failures in a row it is left alone for a while, then tried once.

The states are the library's (purgatory); what it lacks is a look at them without taking part.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState
from purgatory.service._async.circuitbreaker import AsyncCircuitBreaker

from aegis.errors import ModelFailed, ModelUnavailable


class Circuit:
    """Of one server. Outcomes that say nothing about it (a client that left) are not told here."""

    def __init__(self, breaker: AsyncCircuitBreaker) -> None:
        self._breaker = breaker

    @property
    def closed(self) -> bool:
        """Whether calls go through."""
        return self._breaker.context.state == "closed"

    @property
    def due(self) -> bool:
        """Whether one call may be made on trial."""
        context = self._breaker.context
        return not self.closed and time.time() > (context.opened_at or 0.0) + context.ttl

    async def succeeded(self) -> None:
        """A success while it is open, begun before, closes nothing: the trial decides."""
        with suppress(OpenedState):
            async with self._breaker:
                return

    async def failed(self, error: ModelUnavailable | ModelFailed) -> None:
        with suppress(OpenedState, type(error)):
            async with self._breaker:
                raise error

    async def tried(self, trial: Callable[[], Awaitable[None]]) -> None:
        """Make the one call that decides. Raises what it raises."""
        async with self._breaker:
            await trial()


class Circuits:
    """`failures` in a row open one; after `rest` seconds it is due for a trial."""

    def __init__(self, failures: int, rest: float) -> None:
        self._factory = AsyncCircuitBreakerFactory(default_threshold=failures, default_ttl=rest)

    async def of(self, name: str) -> Circuit:
        return Circuit(await self._factory.get_breaker(name))
