"""A circuit breaker for one server: after failures in a row it is left alone for a while, then tried once.

The states are the library's (purgatory); what it lacks is a look at them without taking part. It is imported at the
first failure: it brings a Redis client along, which a server without Redis need not load.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from aegis.errors import ModelFailed, ModelUnavailable

if TYPE_CHECKING:
    from purgatory.service._async.circuitbreaker import AsyncCircuitBreaker


class Circuit:
    """Of one server. Outcomes that say nothing about it (a client that left) are not told here."""

    def __init__(self, make: Callable[[], Awaitable[AsyncCircuitBreaker]]) -> None:
        self._make = make
        self._breaker: AsyncCircuitBreaker | None = None  # until the first failure

    @property
    def closed(self) -> bool:
        """Whether calls go through."""
        return self._breaker is None or self._breaker.context.state == "closed"

    @property
    def due(self) -> bool:
        """Whether one call may be made on trial."""
        if self._breaker is None:
            return False
        context = self._breaker.context
        return not self.closed and time.time() > (context.opened_at or 0.0) + context.ttl

    async def succeeded(self) -> None:
        """A success while it is open, begun before, closes nothing: the trial decides."""
        if self._breaker is None:
            return
        from purgatory.domain.model import OpenedState

        with suppress(OpenedState):
            async with self._breaker:
                return

    async def failed(self, error: ModelUnavailable | ModelFailed) -> None:
        from purgatory.domain.model import OpenedState

        if self._breaker is None:
            made = await self._make()
            self._breaker = self._breaker or made  # another failure may have come first
        with suppress(OpenedState, type(error)):
            async with self._breaker:
                raise error

    async def tried(self, trial: Callable[[], Awaitable[None]]) -> None:
        """Make the one call that decides. Raises what it raises."""
        if self._breaker is None:
            await trial()
            return
        async with self._breaker:
            await trial()


class Circuits:
    """`failures` in a row open one; after `rest` seconds it is due for a trial."""

    def __init__(self, failures: int, rest: float) -> None:
        self._failures = failures
        self._rest = rest

    def of(self, name: str) -> Circuit:
        async def make() -> AsyncCircuitBreaker:
            from purgatory import AsyncCircuitBreakerFactory

            factory = AsyncCircuitBreakerFactory(default_threshold=self._failures, default_ttl=self._rest)
            return await factory.get_breaker(name)

        return Circuit(make)
