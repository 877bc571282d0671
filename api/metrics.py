"""Requests, errors and durations by route template, and `/metrics` for Prometheus."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aegis import telemetry
from aegis.settings import Settings
from aegis.tracing import server_span
from api.health import Check, checks, looked

router = APIRouter(tags=["operation"])
ABSENT = ("down", "missing", "starting")
_TRACE_HEADERS = (b"traceparent", b"tracestate")
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(connection: HTTPConnection, checks: Annotated[Sequence[Check], Depends(checks)]) -> Response:
    """Counters and latencies in Prometheus' text format; every backend is looked at for them."""
    for answer in await looked(checks):
        telemetry.BACKEND_UP.labels(answer["name"]).set(answer["state"] not in ABSENT)
    services = getattr(connection.app.state, "services", None)
    if services is not None:
        telemetry.DISK_FREE.set(_free(services.settings))
        await services.graph_size.tell()
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _free(settings: Settings) -> float:
    there = next(folder for folder in (settings.folder, *settings.folder.parents) if folder.exists())
    disk = shutil.disk_usage(there)
    return disk.free / disk.total


class Measured:
    """Counts every request. A stream is timed until its end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._counters: dict[tuple[str, str, int], Any] = {}  # labels() costs a lock and a look-up each time
        self._timers: dict[tuple[str, str], Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.perf_counter()
        with server_span(scope["method"], _trace_headers(scope)) as span:
            try:
                await self._app(scope, receive, watched)
            finally:
                self._record(scope, status, time.perf_counter() - started)
                if span is not None:
                    _describe(span, scope, status)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        route = template(scope)
        counter = self._counters.get((method, route, status))
        if counter is None:
            counter = telemetry.REQUESTS.labels(method, route, str(status))
            self._counters[method, route, status] = counter
            self._timers.setdefault((method, route), telemetry.REQUEST_SECONDS.labels(method, route))
        counter.inc()
        self._timers[method, route].observe(seconds)


def _trace_headers(scope: Scope) -> dict[str, str]:
    return {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _TRACE_HEADERS}


def _describe(span: Any, scope: Scope, status: int) -> None:
    """By the semantic conventions for HTTP servers. The path is not told: it may name a document."""
    route = template(scope)
    span.update_name(f"{scope['method']} {route}")
    told = {"http.request.method": scope["method"], "http.route": route, "http.response.status_code": status}
    span.set_attributes(told)


def template(scope: Scope) -> str:
    """The route's path with its parameters unfilled; a mounted page counts as one; the rest is `unmatched`."""
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str):
        return path
    return "/chat" if scope["path"].startswith("/chat/") else "unmatched"
