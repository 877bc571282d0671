"""Is the process alive (`/health`), and can it do its work (`/health/ready`)?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import HTTPConnection
from starlette.responses import Response

from aegis.errors import AegisError
from api.encoding import Json
from api.schemas.health import HealthAnswer, ReadyAnswer

router = APIRouter(prefix="/health", tags=["operation"])

PATIENCE = 2.0  # seconds a backend has to answer
VERSION = version("aegisrag")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at a backend found. `state` is `up`, or a word for a lesser condition (`rebuilding`)."""

    state: str = "up"
    message: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Check:
    """One backend. Without a `required` one nothing works; without another the service is degraded."""

    name: str
    required: bool
    look: Callable[[], Awaitable[Finding]]


async def checks(connection: HTTPConnection) -> Sequence[Check]:
    return getattr(connection.app.state, "checks", None) or (Check("services", True, _not_open),)


async def _not_open() -> Finding:
    return Finding("starting", "The server is starting or stopping.")


@router.get("", response_model=HealthAnswer)
async def alive() -> Response:
    """The process answers; nothing else is looked at."""
    return Json({"status": "ok", "version": VERSION})


@router.get("/ready", response_model=ReadyAnswer, responses={503: {"model": ReadyAnswer}})
async def ready(checks: Annotated[Sequence[Check], Depends(checks)]) -> Response:
    """Every backend with its latency. 503 without a required one; 200 `degraded` without an optional one."""
    answers = await looked(checks)
    status = _status(answers)
    return Json({"status": status, "version": VERSION, "checks": answers}, 503 if status == "unavailable" else 200)


async def looked(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Every backend's state, all asked at once; none is waited for longer than PATIENCE."""
    return await asyncio.gather(*(_checked(check) for check in checks))


def _status(answers: Sequence[Mapping[str, Any]]) -> str:
    if any(answer["required"] and answer["state"] in ("down", "starting") for answer in answers):
        return "unavailable"
    return "ready" if all(answer["state"] == "up" for answer in answers) else "degraded"


async def _checked(check: Check) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(PATIENCE):
            found = await check.look()
    except TimeoutError:
        found = Finding("down", f"No answer within {PATIENCE:g} s.")
    except AegisError as error:
        found = Finding("down", error.message[:300])
    return {
        "name": check.name,
        "state": found.state,
        "required": check.required,
        "took_ms": round((time.perf_counter() - started) * 1000, 2),
        "message": found.message,
        "detail": dict(found.detail),
    }
