"""The daily consolidation of memory, begun by hand and looked at."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import Response

from api import deps
from api.encoding import Json, StrictRoute
from api.schemas.consolidation import ConsolidationAnswer
from memory.facts.consolidation import Consolidation, Run

router = APIRouter(prefix="/api/v1/memory", tags=["memory"], route_class=StrictRoute)


ConsolidationOf = Annotated[Consolidation, Depends(deps.consolidation)]


@router.post("/consolidate", status_code=202, response_model=ConsolidationAnswer)
async def consolidate(_scope: deps.ScopeOf, consolidation: ConsolidationOf) -> Response:
    """Merge duplicate entities, take out what belongs to nothing, summarise: what is done each night, now."""
    return Json(_consolidation(await consolidation.start(), running=True), 202)


@router.get("/consolidate", response_model=ConsolidationAnswer)
async def consolidated(_scope: deps.ScopeOf, consolidation: ConsolidationOf) -> Response:
    """How far it is, or how the last one ended."""
    return Json(_consolidation(await consolidation.last(), running=consolidation.running))


def _consolidation(run: Run | None, *, running: bool) -> dict[str, Any]:
    counts = ("merged", "pruned", "summarised")
    if run is None:
        return {"running": running, "phase": None, "started_at": None, "ended_at": None, **dict.fromkeys(counts, 0)}
    shown = {name: getattr(run, name) for name in ("phase", "started_at", "ended_at", *counts)}
    return {"running": running and run.ended_at is None, **shown}
