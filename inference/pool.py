"""Servers that can write an answer, taken together: the least busy healthy one that holds the model writes it.

A server is healthy while its last probe answered and its circuit is closed. Each takes so many answers at a time; more
wait in one queue, which has a bound and a deadline. A slow server is not a dead one: running out of time is held
against a server only if it sent nobody anything meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from math import inf
from typing import Protocol

from aegis import telemetry
from aegis.errors import ModelBusy, ModelFailed, ModelUnavailable, PromptCut
from inference import Piece, WriteRequest
from inference.circuit import Circuit

logger = logging.getLogger(__name__)

BUSY_SECONDS = 1.0  # that a server rests which says that it is busy, and not for how long


class ClosableWriter(Protocol):
    name: str

    def write(self, request: WriteRequest) -> AsyncGenerator[Piece]: ...
    async def close(self) -> None: ...


@dataclass(eq=False, slots=True)
class Member:
    """A server in the pool. `models` None: it did not answer the last probe."""

    address: str
    circuit: Circuit
    opened: Callable[[str], ClosableWriter]  # a model's name -> its writer, made once
    models: frozenset[str] | None
    probed: bool = True  # somebody else makes the trial call when its circuit is due; otherwise the next answer is it
    busy: int = 0
    served: int = 0
    rests_until: float = 0.0  # monotonic seconds; it said that it is busy
    alive_at: float = 0.0  # monotonic seconds; its last piece
    waiting: set[asyncio.Timeout] = field(default_factory=set[asyncio.Timeout])  # answers without a first piece

    def holds(self, model: str) -> bool:
        return self.models is not None and model in self.models

    def healthy(self, model: str) -> bool:
        on_trial = not self.probed and self.circuit.due and not self.busy
        return self.holds(model) and (self.circuit.closed or on_trial)


@dataclass(eq=False, slots=True)
class _Waiter:
    model: str
    tried: frozenset[str]
    until: float
    given: asyncio.Future[Member]


class Pool:
    """`parallel` answers per server; `queue` more wait, each `queue_timeout` seconds at most."""

    def __init__(self, members: Sequence[Member], *, parallel: int, queue: int, queue_timeout: float) -> None:
        self.members = tuple(members)
        self._parallel = parallel
        self._queue = queue
        self._queue_timeout = queue_timeout
        self._waiters: list[_Waiter] = []

    @property
    def waiting(self) -> int:
        return len(self._waiters)

    def holds(self, model: str) -> bool:
        """Whether a healthy server has it, busy or not."""
        return any(member.healthy(model) for member in self.members)

    async def write(self, request: WriteRequest, model: str) -> AsyncGenerator[Piece]:
        """Pieces from one server; from another where the first failed before it showed anything.

        Raises ModelUnavailable before the first piece, with detail `sent` where a server had the prompt and may have
        worked on it; ModelFailed after it.
        """
        until = min(request.deadline, _now() + self._queue_timeout)
        tried = frozenset[str]()
        failure: ModelUnavailable | None = None
        while True:
            try:
                member = await self._slot(model, tried, until)
            except ModelUnavailable as none:
                raise failure or none from none
            try:
                async with aclosing(self._attempt(member, request, model)) as pieces:
                    async for piece in pieces:
                        yield piece
                return
            except ModelBusy as busy:
                failure = busy
            except ModelUnavailable as unavailable:
                failure = unavailable
                tried |= {member.address}
                logger.warning("%s", unavailable.message)
            finally:
                self._release(member)

    def serve(self) -> None:
        """Hand free servers to those who wait, first come first served; tell those who wait in vain."""
        for waiter in [*self._waiters]:
            if waiter.given.done():
                continue
            if (member := self._free(waiter.model, waiter.tried)) is not None:
                member.busy += 1
                waiter.given.set_result(member)
            elif not self._hope(waiter.model, waiter.tried, waiter.until):
                waiter.given.set_exception(self._nobody(waiter.model, waiter.tried))

    async def _slot(self, model: str, tried: frozenset[str], until: float) -> Member:
        """A server with room, counted as busy. Raises ModelUnavailable."""
        if (member := self._free(model, tried)) is not None:
            member.busy += 1
            return member
        if not self._hope(model, tried, until):
            raise self._nobody(model, tried)
        if len(self._waiters) >= self._queue:
            raise ModelBusy(f"All servers with {model} are busy, and {self._queue} answers wait already.")
        waiter = _Waiter(model, tried, until, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        telemetry.MODEL_QUEUE.set(len(self._waiters))
        try:
            async with asyncio.timeout_at(until):
                return await waiter.given
        except TimeoutError as late:
            self._give_back(waiter)
            raise ModelBusy(f"All servers with {model} are busy; none had room in time.") from late
        except asyncio.CancelledError:
            self._give_back(waiter)
            raise
        finally:
            self._waiters.remove(waiter)
            telemetry.MODEL_QUEUE.set(len(self._waiters))

    def _give_back(self, waiter: _Waiter) -> None:
        """A server that was handed over at the very moment when its waiter left."""
        if waiter.given.done() and not waiter.given.cancelled() and waiter.given.exception() is None:
            self._release(waiter.given.result())

    def _free(self, model: str, tried: frozenset[str]) -> Member | None:
        """The least busy; of those the one that served least, so that all are used."""
        now = _now()
        ready = [
            member
            for member in self.members
            if member.healthy(model)
            and member.address not in tried
            and member.busy < self._parallel
            and member.rests_until <= now
        ]
        return min(ready, key=lambda member: (member.busy, member.served), default=None)

    def _hope(self, model: str, tried: frozenset[str], until: float = inf) -> bool:
        """Whether one may have room by then: nobody waits for a server that asked to be left alone for longer."""
        return any(
            member.healthy(model) and member.address not in tried and member.rests_until < until
            for member in self.members
        )

    def _nobody(self, model: str, tried: frozenset[str]) -> ModelUnavailable:
        if self._hope(model, tried):
            return ModelBusy(f"All servers with {model} asked to be left alone for a while.", sent=False)
        return ModelUnavailable(f"No server that answers has the model {model}.", model=model)

    def _release(self, member: Member) -> None:
        member.busy -= 1
        self.serve()

    async def _attempt(self, member: Member, request: WriteRequest, model: str) -> AsyncGenerator[Piece]:
        began = _now()
        member.served += 1
        try:
            async with aclosing(member.opened(model).write(request)) as pieces:
                yield await _first(member, pieces, began)
                async for piece in pieces:
                    member.alive_at = _now()
                    yield piece
        except ModelBusy as busy:
            self._rest(member, busy.retry_after if "retry_after" in busy.details else BUSY_SECONDS)
            raise
        except PromptCut:
            raise
        except (ModelUnavailable, ModelFailed) as error:
            telemetry.BACKEND_FAILURES.labels("model").inc()
            if not (error.details.get("late") and member.alive_at > began):
                await self._failed(member, error)
            raise
        else:
            await member.circuit.succeeded()

    def _rest(self, member: Member, seconds: float) -> None:
        member.rests_until = _now() + seconds
        asyncio.get_running_loop().call_later(seconds + 0.01, self.serve)

    async def _failed(self, member: Member, error: ModelUnavailable | ModelFailed) -> None:
        was_closed = member.circuit.closed
        await member.circuit.failed(error)
        if was_closed and not member.circuit.closed:
            logger.warning("The server at %s is left alone for a while: %s", member.address, error.message)
            self.abandon(member)

    def abandon(self, member: Member) -> None:
        """Whoever still waits for a first piece of this server goes elsewhere."""
        for waiting in member.waiting:
            with suppress(RuntimeError):  # it is over just now
                waiting.reschedule(asyncio.get_running_loop().time())
        self.serve()


async def _first(member: Member, pieces: AsyncGenerator[Piece], began: float) -> Piece:
    """The first piece, with the time it took; waiting for it ends when the server is given up."""
    try:
        async with asyncio.timeout(None) as waiting:
            member.waiting.add(waiting)
            try:
                piece = await anext(pieces)
            finally:
                member.waiting.discard(waiting)
    except TimeoutError as given_up:
        raise ModelUnavailable(
            f"The server at {member.address} stopped answering.", late=True, sent=True, url=member.address
        ) from given_up
    member.alive_at = _now()
    return replace(piece, waited=member.alive_at - began)


def _now() -> float:
    return time.monotonic()
