"""The one table from error class to HTTP status, and the envelope every error leaves in:

{"error": {"code", "message", "details", "request_id"}}
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from aegis import errors
from api.encoding import Json
from api.request_ids import HEADER, request_id

logger = logging.getLogger(__name__)

# The nearest class in an error's ancestry counts, so a new kind of error has its parent's status.
STATUS: Mapping[type[Exception], int] = {
    errors.InvalidInput: 422,
    errors.TooLarge: 413,
    errors.UnsupportedFormat: 415,
    errors.UnreadableDocument: 422,
    errors.NotFound: 404,
    errors.Forbidden: 403,
    errors.Conflict: 409,
    errors.Unavailable: 503,
    errors.Overloaded: 503,
    errors.ModelFailed: 502,
    errors.DataFolderError: 503,
    errors.ConfigurationError: 500,
    errors.AegisError: 500,
}

_CODE = {
    400: "malformed",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_input",
}
_SENTENCE = {
    400: "The request cannot be read.",
    404: "There is nothing at this address; /docs lists what there is.",
    405: "This address does not take this method; the Allow header names those it takes.",
}
_MOST_PROBLEMS = 20
_INTERNAL = "Something went wrong here; the server's log has the details under this request id."


class Malformed(HTTPException):
    """The bytes are not what their type says: JSON that is none, a broken form. Status 400."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)


def status_of(error: Exception) -> int:
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def envelope(code: str, message: str, details: Mapping[str, Any] | None, request_id: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "details": dict(details or {}), "request_id": request_id}}


def refusal(
    scope: Mapping[str, Any],
    status: int,
    code: str,
    message: str,
    details: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error response for an ASGI scope; middlewares use it before there is a Request."""
    identifier = request_id(scope)
    return Json(envelope(code, message, details, identifier), status, {HEADER: identifier, **(headers or {})})


def refused(scope: Mapping[str, Any], error: errors.AegisError) -> Response:
    """The response that an error of ours becomes. What the caller cannot mend is logged, not told."""
    status = status_of(error)
    if status == 500:
        logger.error("request %s: %s", request_id(scope), error, exc_info=error)
        return refusal(scope, status, error.code, _INTERNAL)
    wait = {"Retry-After": str(max(1, math.ceil(error.retry_after)))} if isinstance(error, errors.Unavailable) else {}
    return refusal(scope, status, error.code, error.message, error.details, wait)


def install(app: FastAPI) -> None:
    app.add_exception_handler(errors.AegisError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


async def _ours(request: Request, error: Exception) -> Response:
    return refused(request.scope, cast(errors.AegisError, error))


async def _http(request: Request, error: Exception) -> Response:
    error = cast(HTTPException, error)
    status = error.status_code
    code = _CODE.get(status, "invalid_request" if status < 500 else "internal")
    message = error.detail
    if type(error) is HTTPException and status in _SENTENCE:  # Starlette's own words are a bare "Not Found"
        message = _SENTENCE[status]
    return refusal(request.scope, status, code, message, headers=error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    problems = cast(RequestValidationError, error).errors()
    if any(problem["type"] == "json_invalid" for problem in problems):
        reason = str(problems[0].get("ctx", {}).get("error", "it is not JSON"))[:200]
        return refusal(request.scope, 400, "malformed", f"The body is not valid JSON: {reason}.")
    told = [_problem(problem) for problem in problems[:_MOST_PROBLEMS]]
    first = told[0]
    message = f"{first['field']}: {first['problem']}." if first["field"] else f"{first['problem']}."
    return refusal(request.scope, 422, "invalid_input", message, {"problems": told})


def _problem(problem: Mapping[str, Any]) -> dict[str, str]:
    """Where and what, without echoing the value, which may be huge or secret."""
    place = cast(Sequence[Any], problem["loc"])
    where = ".".join(str(part)[:60] for part in place if part != "body")[:200]
    message = str(problem["msg"])[:300].rstrip(".")
    if problem["type"] in ("model_attributes_type", "missing") and not where:
        message = "The body must be a JSON object, sent with Content-Type: application/json"
    return {"field": where, "problem": message}


async def _unexpected(request: Request, error: Exception) -> Response:
    """Starlette raises `error` again after this answer, so the server's log has it with its trace."""
    logger.error("request %s failed: %s", request_id(request.scope), type(error).__name__)
    return refusal(request.scope, 500, "internal", _INTERNAL)
