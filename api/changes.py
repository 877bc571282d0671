"""What was changed in memory, with the reason, and undone."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from api import deps
from api.encoding import Json, StrictRoute
from api.schemas.changes import ChangeAnswer, ChangesAnswer
from memory.facts.control import FactControl
from memory.facts.history import Change

router = APIRouter(prefix="/api/v1/memory", tags=["memory"], route_class=StrictRoute)

ControlOf = Annotated[FactControl, Depends(deps.fact_control)]


@router.get("/changes", response_model=ChangesAnswer)
async def changes(
    scope: deps.ScopeOf,
    control: ControlOf,
    fact: Annotated[str | None, Query(max_length=64, pattern=deps.NO_NUL, description="Of this fact only")] = None,
    limit: deps.Limit = 100,
) -> Response:
    """What superseded, corrected, confirmed, forbade or merged, with the reason; newest first."""
    found = await control.history(scope, fact_id=fact, limit=limit)
    return Json({"changes": [_change(one) for one in found]})


@router.post("/changes/{change_id}/undo", response_model=ChangeAnswer)
async def undo(change_id: deps.Id, scope: deps.ScopeOf, control: ControlOf) -> Response:
    """Put back what a change took."""
    return Json(_change(await control.undo(scope, change_id)))


def _change(change: Change) -> dict[str, Any]:
    return asdict(change)
