"""While the store is being replaced, requests are refused with 503 and Retry-After; those under way may finish."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import refusal

RETRY_AFTER = 5  # seconds
PATIENCE = 10.0  # seconds for requests under way
ALLOWED = ("/health", "/api/v1/admin/restore")


class Gate:
    """`closed` says why, while it is."""

    def __init__(self) -> None:
        self.closed: str | None = None
        self._inside = 0
        self._empty = asyncio.Event()

    def enter(self) -> None:
        self._inside += 1

    def leave(self) -> None:
        self._inside -= 1
        if not self._inside:
            self._empty.set()

    @asynccontextmanager
    async def drained(self, reason: str) -> AsyncGenerator[None]:
        """Nobody comes in; who is inside has PATIENCE seconds to leave."""
        self.closed = reason
        self._empty.clear()
        try:
            if self._inside:
                # Answers that still run then are stopped when the services close; what was written is kept.
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._empty.wait(), PATIENCE)
            yield
        finally:
            self.closed = None


class Draining:
    """Reads `app.state.gate`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gate: Gate | None = getattr(getattr(scope.get("app"), "state", None), "gate", None)
        if gate is None or scope["type"] not in ("http", "websocket") or scope["path"].startswith(ALLOWED):
            await self._app(scope, receive, send)
        elif gate.closed is not None:
            await _refuse(gate.closed, scope, receive, send)
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)  # stays open; what is asked through it is refused further in
        else:
            gate.enter()
            try:
                await self._app(scope, receive, send)
            finally:
                gate.leave()


async def _refuse(reason: str, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1013, "reason": reason})
        return
    answer = refusal(scope, 503, "unavailable", reason, headers={"Retry-After": str(RETRY_AFTER)})
    await answer(scope, receive, send)
