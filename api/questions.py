"""Standing questions: what the documents do not answer, and what has come in since that does."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from api import deps
from api.encoding import Json, StrictRoute
from api.schemas.questions import QuestionAnswer, QuestionsAnswer, StandingBody
from memory.conversations import Conversations
from memory.standing import StandingQuestion, StandingQuestions, StandingState

router = APIRouter(prefix="/api/v1/questions", tags=["questions"], route_class=StrictRoute)

StandingOf = Annotated[StandingQuestions, Depends(deps.standing)]
KeptOf = Annotated[Conversations, Depends(deps.conversations)]


@router.get("", response_model=QuestionsAnswer)
async def questions(
    scope: deps.ScopeOf,
    standing: StandingOf,
    state: Annotated[StandingState | None, Query(description="Only these")] = None,
    limit: deps.Limit = 100,
    cursor: deps.Cursor = "",
) -> Response:
    """What you asked to be told of, in order of id."""
    found = await standing.list(scope, state=state or "", after=cursor, limit=limit + 1)
    page = found[:limit]
    return Json({"questions": [_answer(one) for one in page], "next": page[-1].id if len(found) > limit else None})


@router.post("", status_code=201, response_model=QuestionAnswer)
async def keep(body: StandingBody, scope: deps.ScopeOf, standing: StandingOf, kept: KeptOf) -> Response:
    """Keep a question that was not answered open: each ingestion looks whether it brings the answer."""
    return Json(_answer(await standing.keep(scope, await kept.turn(scope, body.turn_id))), 201)


@router.delete("/{question_id}", status_code=204)
async def close(question_id: deps.Id, scope: deps.ScopeOf, standing: StandingOf) -> None:
    """Wait for the answer no longer."""
    await standing.close(scope, question_id)


def _answer(question: StandingQuestion) -> dict[str, Any]:
    return QuestionAnswer.model_validate(question).model_dump(mode="json")
