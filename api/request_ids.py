"""A name for each request, in its answer and in the log, and the headers that every answer carries."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-ID"
_NAME = b"x-request-id"
_KEY = "aegis.request_id"
_SANE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def request_id(scope: Mapping[str, Any]) -> str:
    return scope.get(_KEY, "")


class RequestIds:
    """Takes the caller's X-Request-ID if it is sane, else makes one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        identifier = _given(scope["headers"]) or secrets.token_hex(8)
        scope[_KEY] = identifier
        own = (_NAME, identifier.encode())

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.setdefault("headers", [])
                present = {name.lower() for name, _ in headers}
                message["headers"] = [*headers, *(pair for pair in (own, *_ALWAYS) if pair[0] not in present)]
            await send(message)

        await self._app(scope, receive, named)


def _given(headers: list[tuple[bytes, bytes]]) -> str | None:
    for name, value in headers:
        if name == _NAME:
            return value.decode("ascii") if _SANE.fullmatch(value) else None
    return None
