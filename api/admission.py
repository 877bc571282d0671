"""How many requests of a kind are worked on at a time, so that a flood of one is shed early and starves no other.

Beyond `at_once` a request waits its turn for at most `patience` seconds, and is refused at once where the wait is sure
to be longer: 503 with Retry-After, before its body is read. Questions have a bound of their own (`max_running`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from aegis import telemetry
from aegis.errors import Overloaded
from aegis.settings import AdmissionSettings
from api.errors import refused

KINDS = {
    "/api/v1/retrieval/search": "search",
    "/api/v1/memory/search": "search",
    "/api/v1/retrieval/ingest": "ingest",
}
RECENT = 0.1  # what the newest request counts in the mean time of one


class Gate:
    """Lets `at_once` in at a time. Waiting is first come, first served."""

    def __init__(self, kind: str, at_once: int, patience: float) -> None:
        self.waiting = 0
        self._kind = kind
        self._at_once = at_once
        self._patience = patience
        self._room = asyncio.Semaphore(at_once)
        self._seconds = 0.0  # mean time of one request
        self._busy = telemetry.ADMITTED.labels(kind)
        self._queued = telemetry.QUEUED.labels(kind)

    @asynccontextmanager
    async def admitted(self) -> AsyncGenerator[None]:
        """Raises Overloaded."""
        await self._enter()
        began = time.perf_counter()
        self._busy.inc()
        try:
            yield
        finally:
            self._busy.dec()
            self._room.release()
            self._seconds += RECENT * (time.perf_counter() - began - self._seconds)

    async def _enter(self) -> None:
        if not self._room.locked():
            await self._room.acquire()
            return
        if self.waiting * self._seconds / self._at_once > self._patience:
            raise self._refusal()
        self.waiting += 1
        self._queued.inc()
        try:
            async with asyncio.timeout(self._patience):
                await self._room.acquire()
        except TimeoutError as error:
            raise self._refusal() from error
        finally:
            self.waiting -= 1
            self._queued.dec()

    def _refusal(self) -> Overloaded:
        telemetry.SHED.labels(self._kind).inc()
        return Overloaded(
            f"The server has as many requests of this kind ({self._kind}) as it can answer in time; try again shortly.",
            retry_after=1,
        )


@dataclass(frozen=True, slots=True)
class Gates:
    search: Gate
    ingest: Gate

    def of(self, scope: Scope) -> Gate | None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return None
        kind = KINDS.get(scope["path"])
        return None if kind is None else getattr(self, kind)


def gates_of(settings: AdmissionSettings) -> Gates:
    return Gates(
        Gate("search", settings.searches, settings.patience),
        # Files arrive as slowly as their sender's line; whoever waits for a turn holds nothing yet.
        Gate("ingest", settings.uploads, settings.upload_patience),
    )


class Admission:
    """Reads its gates from `app.state.gates`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gates: Gates | None = getattr(getattr(scope.get("app"), "state", None), "gates", None)
        gate = gates.of(scope) if gates is not None else None
        if gate is None:
            await self._app(scope, receive, send)
            return
        try:
            async with gate.admitted():
                await self._app(scope, receive, send)
        except Overloaded as error:  # of the gate: what the app raises it has answered itself
            await refused(scope, error)(scope, receive, send)
