"""JSON out and in: orjson, which refuses what JSON forbids (NaN, lone surrogates, invalid UTF-8, endless nesting)."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response


class Json(Response):
    """A response whose content is trusted to fit its documented schema (tests compare); nothing validates it again."""

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200, headers: dict[str, str] | None = None) -> None:
        super().__init__(content, status_code, headers)

    def render(self, content: Any) -> bytes:
        return encode(content)


def encode(content: Any) -> bytes:
    """Compact UTF-8. Numbers that JSON lacks become null."""
    return orjson.dumps(content, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z)


def decode(body: bytes) -> Any:
    """Raises json.JSONDecodeError (orjson's is one) with a position."""
    return orjson.loads(body)


class StrictRequest(Request):
    async def json(self) -> Any:
        body = await self.body()
        try:
            return decode(body)
        except orjson.JSONDecodeError as error:
            # without the document, which FastAPI would carry along in its error
            raise json.JSONDecodeError(error.msg, "", 0) from error


class StrictRoute(APIRoute):
    """A route that reads bodies by `decode`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(StrictRequest(request.scope, request.receive))

        return strict
