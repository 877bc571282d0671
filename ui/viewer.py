"""Who is looking, and at which server: Chainlit's callbacks are handed neither.

Each request and each socket runs inside the connection that brought it, so scope and runs come from the same place
as everywhere else (`api.deps`).
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import cast

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Asgi

from aegis.errors import Unavailable
from aegis.scope import Scope
from aegis.services import Services
from api import deps
from graphs.answering import Answering

_connection: ContextVar[HTTPConnection] = ContextVar("connection")

HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}


class Viewed:
    """Around the mounted page: remembers the connection, and adds the headers every answer carries."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Asgi, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        # A copy: the mounted application puts itself into the scope it is given.
        token = _connection.set(HTTPConnection({**scope, "type": "http"}))
        try:
            await self._app(scope, receive, with_headers)
        finally:
            _connection.reset(token)


async def scope() -> Scope:
    """What this viewer may see now. Raises Unavailable."""
    return await deps.scope_of(_of())


def services() -> Services:
    return _opened("services")


def answering() -> Answering:
    return cast(Answering, _opened("answering"))


def _opened(name: str):
    found = getattr(_of().app.state, name, None)
    if found is None:
        raise Unavailable("The server is starting or stopping; try again shortly.", retry_after=2)
    return found


def _of() -> HTTPConnection:
    try:
        return _connection.get()
    except LookupError as error:
        raise Unavailable("Nobody is looking: this was called outside a request.") from error
