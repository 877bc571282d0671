"""For the command line and operators: what the design's other endpoints do not name."""

from __future__ import annotations

import hmac
from dataclasses import asdict
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, Header, Request
from starlette.requests import HTTPConnection
from starlette.responses import Response, StreamingResponse

from aegis.backup.writing import backed_up
from aegis.database import Database
from aegis.errors import Forbidden, Unavailable
from aegis.folder import OPERATOR_FILE, OPERATOR_HEADER, operator_key
from api import deps
from api.encoding import Json, StrictRoute
from api.restoring import Restoring
from api.schemas.admin import RebuildAnswer, ReindexAnswer, RestoreAnswer
from retrieval.blobs import Blobs

router = APIRouter(prefix="/api/v1/admin", tags=["operation"], route_class=StrictRoute)


class Progress(Protocol):
    @property
    def running(self) -> bool: ...
    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...


class Rebuilding(Protocol):
    """The projections, made anew from the relational store; no model is called."""

    async def rebuild(self) -> None:
        """Start it, if it does not run already; returns at once."""
        ...

    def progress(self) -> Progress: ...


_FILE = {"requestBody": {"required": True, "content": {"application/zip": {"schema": {"type": "string"}}}}}


async def _operator(
    settings: deps.SettingsOf,
    key: Annotated[str, Header(alias=OPERATOR_HEADER, max_length=200, description="What `operator_key` holds")] = "",
) -> None:
    """A backup holds what everybody wrote and uploaded, and a restore replaces it: no user's right but the operator's,
    who can read the data folder. Raises Forbidden."""
    if not hmac.compare_digest(key.encode(), operator_key(settings.folder).encode()):
        raise Forbidden(
            f"Only who can read the data folder may do this: use `aegis backup` or `aegis restore` on this machine, or "
            f"send what the file {OPERATOR_FILE} in it holds as {OPERATOR_HEADER}."
        )


async def _restoring(connection: HTTPConnection) -> Restoring:
    found = getattr(connection.app.state, "restoring", None)
    if found is None:
        raise Unavailable("The server is starting or stopping; try again shortly.")
    return found


RestoringOf = Annotated[Restoring, Depends(_restoring)]
DatabaseOf = Annotated[Database, Depends(deps.database)]
RebuildingOf = Annotated[Rebuilding, Depends(deps.projections)]


@router.post("/rebuild", status_code=202, response_model=RebuildAnswer)
async def rebuild(_scope: deps.ScopeOf, projections: RebuildingOf) -> Response:
    """Make every index anew from the relational store; searches go on meanwhile."""
    await projections.rebuild()
    return Json(_answer(projections), 202)


@router.get("/rebuild", response_model=RebuildAnswer)
async def progress(_scope: deps.ScopeOf, projections: RebuildingOf) -> Response:
    """How far it is."""
    return Json(_answer(projections))


@router.get("/backup", response_class=StreamingResponse, dependencies=[Depends(_operator)])
async def backup(database: DatabaseOf, blobs: Annotated[Blobs, Depends(deps.blobs)]) -> Response:
    """Everything that must not be lost, as one file of one moment; nothing stops meanwhile."""
    headers = {"Content-Disposition": 'attachment; filename="aegisrag.backup"'}
    return StreamingResponse(backed_up(database, blobs), media_type="application/zip", headers=headers)


@router.post(
    "/restore",
    status_code=202,
    response_model=RestoreAnswer,
    openapi_extra=_FILE,
    dependencies=[Depends(_operator)],
)
async def restore(request: Request, restoring: RestoringOf) -> Response:
    """Put a backup in the place of everything that is there. Other requests are refused for the last part of it."""
    await restoring.begin(request.stream())
    return Json(_state(restoring), 202)


@router.get("/restore", response_model=RestoreAnswer)
async def restored(restoring: RestoringOf) -> Response:
    """How far it is."""
    return Json(_state(restoring))


def _state(restoring: Restoring) -> dict[str, Any]:
    return {**asdict(restoring.state), "running": restoring.state.running}


class Reindexed(Protocol):
    @property
    def embedder(self) -> str: ...
    @property
    def running(self) -> bool: ...
    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def waits(self) -> str | None: ...


class Reindexing(Protocol):
    """Another embedder's index, made beside the current one."""

    async def start(self) -> Reindexed:
        """Begin, if it does not run already; returns at once."""
        ...

    def progress(self) -> Reindexed: ...


ReindexingOf = Annotated[Reindexing, Depends(deps.reindexing)]


@router.post("/reindex", status_code=202, response_model=ReindexAnswer)
async def reindex(_scope: deps.ScopeOf, reindexing: ReindexingOf) -> Response:
    """Embed everything with the embedder that the server's settings name by now; searches go on meanwhile.

    Which embedder is the settings' business only: a caller names neither folders nor addresses.
    """
    return Json(_reindexed(await reindexing.start()), 202)


@router.get("/reindex", response_model=ReindexAnswer)
async def reindex_progress(_scope: deps.ScopeOf, reindexing: ReindexingOf) -> Response:
    """How far it is."""
    return Json(_reindexed(reindexing.progress()))


def _reindexed(now: Reindexed) -> dict[str, str | int | bool | None]:
    names = ("embedder", "running", "done", "total", "waits")
    return {name: getattr(now, name) for name in names}


def _answer(projections: Rebuilding) -> dict[str, int | bool]:
    now = projections.progress()
    return {"running": now.running, "done": now.done, "total": now.total}
