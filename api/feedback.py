"""What readers think of an answer."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from api import deps
from api.encoding import StrictRoute
from api.schemas.feedback import FeedbackBody
from memory.conversations import Conversations

router = APIRouter(prefix="/api/v1/feedback", tags=["conversations"], route_class=StrictRoute)


@router.post("", status_code=204)
async def feedback(
    body: FeedbackBody, scope: deps.ScopeOf, kept: Annotated[Conversations, Depends(deps.conversations)]
) -> None:
    """1: good, -1: bad, 0: taken back. Replaces what was said before."""
    said = {"value": body.value, "comment": body.comment} if body.value or body.comment else None
    await kept.feedback(scope, body.turn_id, said)
