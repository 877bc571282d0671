"""Conversations: history, names, and the turn that is being answered now."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query
from starlette.responses import Response

from aegis.errors import NotFound
from aegis.scope import Scope
from api import deps
from api.chat import STREAM_RESPONSES, AnsweringOf, Run, frames
from api.encoding import Json, StrictRoute
from api.schemas import ConversationAnswer, ConversationsAnswer, ConversationWithTurns, RenameBody
from api.streaming import EventStream
from memory.conversations import Conversation, Conversations, Turn, told

router = APIRouter(prefix="/api/v1/conversations", tags=["conversations"], route_class=StrictRoute)

KeptOf = Annotated[Conversations, Depends(deps.conversations)]


@router.get("", response_model=ConversationsAnswer)
async def conversations(
    scope: deps.ScopeOf, kept: KeptOf, limit: deps.Limit = 50, cursor: deps.Cursor = ""
) -> Response:
    """Newest first."""
    found = await kept.list(scope, before=cursor, limit=limit + 1)
    page = list(found[:limit])
    more = len(found) > limit
    return Json({"conversations": [_answer(one) for one in page], "next": page[-1].cursor if more else None})


@router.get("/{conversation_id}", response_model=ConversationWithTurns)
async def conversation(
    conversation_id: deps.Id,
    scope: deps.ScopeOf,
    kept: KeptOf,
    limit: deps.Limit = 100,
    cursor: Annotated[int, Query(ge=0, description="`next` of the page before")] = 0,
) -> Response:
    """The conversation with its turns, oldest first."""
    found = await kept.get(scope, conversation_id)
    turns = await kept.history(scope, conversation_id)
    page = turns[cursor : cursor + limit]
    more = cursor + limit < len(turns)
    body = {"turns": [turn_answer(turn) for turn in page], "next": str(cursor + limit) if more else None}
    return Json(_answer(found) | body)


@router.patch("/{conversation_id}", response_model=ConversationAnswer)
async def rename(conversation_id: deps.Id, body: RenameBody, scope: deps.ScopeOf, kept: KeptOf) -> Response:
    """Give it another title."""
    return Json(_answer(await kept.rename(scope, conversation_id, body.title)))


@router.delete("/{conversation_id}", status_code=204)
async def delete(conversation_id: deps.Id, scope: deps.ScopeOf, kept: KeptOf, answering: AnsweringOf) -> None:
    """Erase the conversation with its turns; one that is being answered is stopped first."""
    await kept.get(scope, conversation_id)
    run = answering.running(scope, conversation_id)
    if run is not None:
        await run.stop()
    await kept.delete(scope, conversation_id)


@router.get("/{conversation_id}/running", response_class=EventStream, responses=STREAM_RESPONSES)
async def running(
    conversation_id: deps.Id,
    scope: deps.ScopeOf,
    answering: AnsweringOf,
    last_event_id: Annotated[str, Header(max_length=100)] = "",
) -> Response:
    """Join the turn that is being answered: from its start, or after `Last-Event-ID`. 404 when there is none."""
    run = _running(answering, scope, conversation_id)
    return EventStream(frames(run, _seen(last_event_id, run)))


@router.delete("/{conversation_id}/running", status_code=204)
async def stop(conversation_id: deps.Id, scope: deps.ScopeOf, answering: AnsweringOf) -> None:
    """Stop the turn that is being answered; what was written is kept."""
    await _running(answering, scope, conversation_id).stop()


def _running(answering: AnsweringOf, scope: Scope, conversation_id: str) -> Run:
    run = answering.running(scope, conversation_id)
    if run is None:
        raise NotFound(f"Nothing is being answered in conversation {conversation_id}.", conversation_id=conversation_id)
    return run


def _seen(last_event_id: str, run: Run) -> int:
    turn, _, number = last_event_id.rpartition(".")
    return int(number) if turn == run.turn_id and number.isdecimal() and number.isascii() else 0


def turn_answer(turn: Turn) -> dict[str, Any]:
    return told(turn) | {
        "question": turn.question,
        "mode": turn.mode,
        "chunk_ids": list(turn.chunk_ids),
        "fact_ids": list(turn.fact_ids),
        "steps": [dict(step) for step in turn.steps],
        "feedback": dict(turn.feedback) if turn.feedback is not None else None,
        "created_at": turn.created_at,
    }


def _answer(conversation: Conversation) -> dict[str, Any]:
    return ConversationAnswer.model_validate(conversation).model_dump(mode="json")
