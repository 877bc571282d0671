"""For the command line and operators: what the design's other endpoints do not name."""

from __future__ import annotations

from typing import Annotated, Protocol

from fastapi import APIRouter, Depends
from starlette.responses import Response

from api import deps
from api.encoding import Json, StrictRoute
from api.schemas import RebuildAnswer

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


def _answer(projections: Rebuilding) -> dict[str, int | bool]:
    now = projections.progress()
    return {"running": now.running, "done": now.done, "total": now.total}
