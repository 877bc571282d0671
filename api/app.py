"""`create_app`: the API put together. `app` is the API alone (for `langgraph dev`); `ui/served.py` adds the page.

Nothing is opened at import. A lifespan opens the services; the command line, which wants its own way to say what
goes wrong, uses `opened` around a server whose lifespan is off.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from starlette.middleware import Middleware

from aegis import telemetry
from aegis.settings import Settings
from api import (
    admin,
    changes,
    chat,
    consolidation,
    conversations,
    docs,
    documents,
    errors,
    extraction,
    feedback,
    forgetting,
    health,
    ingestion,
    jobs,
    memory,
    metrics,
    models,
    questions,
    search,
)
from api.admission import Admission, gates_of
from api.draining import Draining, Gate
from api.guard import Guard, policy_of
from api.hosting import Hosting
from api.limits import BodyLimit, limits_for
from api.metrics import Measured
from api.openapi import ERRORS, describing
from api.request_ids import RequestIds
from api.restoring import Restoring

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

ROUTERS = (
    search,
    ingestion,
    jobs,
    documents,
    chat,
    conversations,
    memory,
    extraction,
    changes,
    consolidation,
    questions,
    feedback,
    health,
    models,
    metrics,
    forgetting,
    admin,
    docs,
)


@asynccontextmanager
async def opened(
    app: FastAPI, settings: Settings, *, command: str = "serve", patience: float = 0.0
) -> AsyncGenerator[None]:
    """Open everything that requests need and hand it to the app; close it at the end.

    `command` and `patience` are what `aegis.folder.own_folder` takes: who we are, and how long to wait for another.
    """
    configure(app, settings)
    hosting = Hosting(app, settings, command, patience)
    restoring = Restoring(app, settings)
    async with hosting.running():
        app.state.hosting, app.state.restoring = hosting, restoring
        try:
            yield
        finally:
            await restoring.aclose()


def configure(app: FastAPI, settings: Settings) -> None:
    """What requests go by that needs no service."""
    app.state.policy = policy_of(settings)
    app.state.limits = limits_for(settings.ingestion.max_file_bytes)
    app.state.gate = Gate()
    app.state.gates = gates_of(settings.admission)
    # One form's files are read into memory at a time; others wait with theirs on disk.
    app.state.reading = asyncio.Semaphore(1)
    telemetry.BUILD.labels(health.VERSION).set(1)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    # `aegis studio` says who it is: another program's process cannot be told otherwise.
    async with opened(app, Settings(), command=os.environ.get("AEGIS_COMMAND", "serve")):
        yield


def create_app(lifespan: Lifespan = lifespan) -> FastAPI:
    app = FastAPI(
        title="AegisRAG",
        version=health.VERSION,
        description="Answers from your documents, with citations that can be checked.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages load from a CDN; `docs.py` serves its own
        redoc_url=None,
        redirect_slashes=False,
        responses=ERRORS,
        middleware=[
            Middleware(Measured),
            Middleware(RequestIds),
            Middleware(Guard),
            Middleware(Draining),
            Middleware(Admission),
            Middleware(BodyLimit),
        ],
    )
    errors.install(app)
    for noun in ROUTERS:
        app.include_router(noun.router)
    app.openapi = describing(app)
    return app


app = create_app()
