"""Facts drawn by a language model: how far it has read, and what of its claims is held back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from api import deps
from api.encoding import Json, StrictRoute
from api.schemas.extraction import ExtractionAnswer, QuarantineAnswer, ReleasedAnswer
from memory.reading.reader import ModelReader, Status

router = APIRouter(prefix="/api/v1/memory", tags=["memory"], route_class=StrictRoute)


ReadingOf = Annotated[ModelReader, Depends(deps.reading)]


@router.get("/quarantine", response_model=QuarantineAnswer)
async def quarantine(
    scope: deps.ScopeOf,
    reading: ReadingOf,
    limit: deps.Limit = 100,
    cursor: deps.Cursor = "",
    document: Annotated[str | None, Query(max_length=64, pattern=deps.NO_NUL, description="Of this one only")] = None,
) -> Response:
    """What a model claimed of documents without their saying so, with the reason. Never searched, never an answer."""
    found = await reading.quarantine.page(scope, after=cursor, limit=limit + 1, document=document)
    page = [asdict(one) for one in found[:limit]]
    return Json({"facts": page, "next": page[-1]["id"] if len(found) > limit else None})


@router.post("/quarantine/{identifier}/release", response_model=ReleasedAnswer)
async def release(identifier: deps.Id, scope: deps.ScopeOf, reading: ReadingOf) -> Response:
    """Make it a fact that you vouch for, on the passage it was read from. `memory/changes/{id}/undo` takes it back."""
    return Json({"fact_id": await reading.quarantine.release(scope, identifier)})


@router.delete("/quarantine/{identifier}", status_code=204)
async def discard(identifier: deps.Id, scope: deps.ScopeOf, reading: ReadingOf) -> None:
    """Take it off the list. It is not listed again while its document stays as it is."""
    await reading.quarantine.discard(scope, identifier)


@router.get("/extraction", response_model=ExtractionAnswer)
async def extraction(scope: deps.ScopeOf, reading: ReadingOf) -> Response:
    """How far a model has read the documents for facts, and what the rest would cost where it is a paid one."""
    return Json(_extraction(await reading.status(scope)))


@router.post("/extraction", response_model=ExtractionAnswer)
async def extract(scope: deps.ScopeOf, reading: ReadingOf) -> Response:
    """Go on: agrees to pay for what waits, as far as a paid model is needed, and tries again what failed."""
    await reading.agree(scope)
    return Json(_extraction(await reading.status(scope)))


def _extraction(status: Status) -> dict[str, Any]:
    choice = status.choice
    told = {"enabled": status.enabled, "quarantined": status.quarantined, "waits": status.waits}
    told |= {"provider": choice and choice.provider, "model": choice and choice.model}
    told |= {"paid": choice is not None and choice.price is not None, "failures": list(status.failures)}
    return told | asdict(status.counts) | {"estimate": status.estimate and asdict(status.estimate)}
