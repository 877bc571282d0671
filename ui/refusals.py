"""Errors as Chainlit's page reads them: `detail` is what it shows the reader."""

from __future__ import annotations

import logging
from typing import cast

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aegis.errors import AegisError
from api.errors import status_of

logger = logging.getLogger(__name__)

_UPLOAD = "/project/file"


def install(app: FastAPI) -> None:
    """HTTP exceptions are left as they are: Chainlit raises them with a `detail` of its own."""
    app.add_exception_handler(AegisError, _ours)
    app.add_exception_handler(Exception, _unexpected)
    for kind in (ValueError, AssertionError):
        app.add_exception_handler(kind, _not_taken)


async def _ours(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": cast(AegisError, error).message}, status_of(error))


async def _not_taken(request: Request, error: Exception) -> Response:
    """Chainlit's way of saying that an upload has no bytes, no name or no type."""
    if not request.url.path.endswith(_UPLOAD):
        return await _unexpected(request, error)
    return JSONResponse({"detail": "The file is empty, or has no name."}, 400)


async def _unexpected(request: Request, error: Exception) -> Response:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return JSONResponse({"detail": "Something went wrong; the server's log says what."}, 500)
