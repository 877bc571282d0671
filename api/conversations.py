"""Conversations: history, names, search, files of them, and the turn that is being answered now."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import Response, StreamingResponse

from aegis.errors import NotFound
from aegis.scope import Scope
from api import deps
from api.chat import STREAM_RESPONSES, AnsweringOf, Run, frames
from api.encoding import Json, StrictRoute
from api.schemas.conversations import (
    ConversationAnswer,
    ConversationsAnswer,
    ConversationWithTurns,
    FoundTurnsAnswer,
    ReceiptAnswer,
    RenameBody,
    ShareableAnswer,
    TakenInAnswer,
)
from api.streaming import EventStream
from inference.routing import RoutedWriter
from inference.sharing import Sharing
from memory.conversations import Conversation, Conversations, Found, Searching, Turn, told
from memory.conversations.transfer import Form, exported, exported_all, take_in
from memory.recalls import AnswerRecalls

router = APIRouter(prefix="/api/v1/conversations", tags=["conversations"], route_class=StrictRoute)

SharingOf = Annotated[Sharing, Depends(deps.sharing)]
WriterOf = Annotated[RoutedWriter, Depends(deps.writer)]
SearchingOf = Annotated[Searching, Depends(deps.conversations)]
KeptOf = Annotated[Conversations, Depends(deps.conversations)]
RecallsOf = Annotated[AnswerRecalls, Depends(deps.recalls)]
FormOf = Annotated[Form, Query(description="jsonl or markdown")]
_MEDIA = {"jsonl": ("application/x-ndjson", "jsonl"), "markdown": ("text/markdown; charset=utf-8", "md")}
_LINES = {"requestBody": {"required": True, "content": {"application/x-ndjson": {"schema": {"type": "string"}}}}}


@router.get("", response_model=ConversationsAnswer)
async def conversations(
    scope: deps.ScopeOf, kept: KeptOf, limit: deps.Limit = 50, cursor: deps.Cursor = ""
) -> Response:
    """Newest first."""
    found = await kept.list(scope, before=cursor, limit=limit + 1)
    page = list(found[:limit])
    more = len(found) > limit
    return Json({"conversations": [_answer(one) for one in page], "next": page[-1].cursor if more else None})


@router.get("/search", response_model=FoundTurnsAnswer)
async def search(
    scope: deps.ScopeOf,
    kept: KeptOf,
    turns: SearchingOf,
    query: Annotated[str, Query(min_length=1, max_length=2000, pattern=deps.NO_NUL, description="What to look for")],
    limit: Annotated[int, Query(ge=1, le=100, description="Most turns")] = 20,
) -> Response:
    """Turns of all your conversations, by words and by meaning, best first."""
    begun = time.perf_counter()
    hits = [await _found(kept, scope, found) for found in await turns.search(scope, query, limit=limit)]
    return Json({"hits": hits, "took_ms": round((time.perf_counter() - begun) * 1000, 2)})


@router.get("/export", response_class=StreamingResponse)
async def export_all(scope: deps.ScopeOf, kept: KeptOf, format: FormOf = "jsonl") -> Response:
    """All your conversations, newest first; JSON lines can be imported again."""
    return _file(exported_all(kept, scope, format), "conversations", format)


@router.post("/import", response_model=TakenInAnswer, openapi_extra=_LINES)
async def import_(request: Request, scope: deps.ScopeOf, kept: KeptOf) -> Response:
    """Take in JSON lines that an export has written. Those that are here already stay as they are."""
    return Json(asdict(await take_in(kept, scope, await request.body())))


@router.get("/{conversation_id}/export", response_class=StreamingResponse)
async def export(conversation_id: deps.Id, scope: deps.ScopeOf, kept: KeptOf, format: FormOf = "jsonl") -> Response:
    """One conversation as a file: JSON lines hold everything, Markdown is for reading."""
    found = await kept.get(scope, conversation_id)
    return _file(exported(kept, scope, found, format), f"conversation-{found.id}", format)


@router.get("/{conversation_id}", response_model=ConversationWithTurns)
async def conversation(
    conversation_id: deps.Id,
    scope: deps.ScopeOf,
    kept: KeptOf,
    recalls: RecallsOf,
    limit: deps.Limit = 100,
    cursor: deps.Place = 0,
) -> Response:
    """The conversation with its turns, oldest first."""
    found = await kept.get(scope, conversation_id)
    turns = await kept.page(scope, conversation_id, after=cursor, limit=limit + 1)
    page, more = turns[:limit], len(turns) > limit
    again = await recalls.of(scope, [turn.id for turn in page])
    shown = [turn_answer(turn) | {"recalled": again.get(turn.id)} for turn in page]
    body = {
        "summary": await kept.summary(scope, conversation_id),
        "turns": shown,
        "next": str(cursor + limit) if more else None,
    }
    return Json(_answer(found) | body)


@router.patch("/{conversation_id}", response_model=ConversationAnswer)
async def rename(conversation_id: deps.Id, body: RenameBody, scope: deps.ScopeOf, kept: KeptOf) -> Response:
    """Give it another title."""
    return Json(_answer(await kept.rename(scope, conversation_id, body.title)))


@router.get("/{conversation_id}/shareable", response_model=ShareableAnswer)
async def shareable(
    conversation_id: deps.Id, scope: deps.ScopeOf, sharing: SharingOf, writer: WriterOf, settings: deps.SettingsOf
) -> Response:
    """Whether this conversation's questions may go to cloud models, and to which."""
    marked = await sharing.marked(scope, conversation_id) is True
    told = {"clouds": writer.clouds, "collections": list(settings.cloud.collections), "asks": settings.cloud.ask}
    rests = await sharing.rests_on_private(scope, conversation_id)
    return Json({"shareable": marked, "rests_on_private": rests, **told})


@router.put("/{conversation_id}/shareable", status_code=204)
async def share(conversation_id: deps.Id, scope: deps.ScopeOf, sharing: SharingOf) -> None:
    """Let this conversation's questions go to cloud models, with passages of collections that may; others stay here.
    Without this mark nothing of it leaves this machine. It can be set before the first question."""
    await sharing.mark(scope, conversation_id)


@router.delete("/{conversation_id}/shareable", status_code=204)
async def keep_private(conversation_id: deps.Id, scope: deps.ScopeOf, sharing: SharingOf) -> None:
    """Make it private: nothing of it leaves this machine, whatever else is set and whoever agrees to one question."""
    await sharing.unmark(scope, conversation_id)


@router.delete("/{conversation_id}", response_model=ReceiptAnswer)
async def delete(conversation_id: deps.Id, scope: deps.ScopeOf, kept: KeptOf, answering: AnsweringOf) -> Response:
    """Erase the conversation with everything drawn from it; one that is being answered is stopped first."""
    await kept.get(scope, conversation_id)
    run = answering.running(scope, conversation_id)
    if run is not None:
        await run.stop()
    return Json(asdict(await kept.delete(scope, conversation_id)))


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
        "top_k": turn.top_k,
        "as_of": turn.as_of,
        "known_at": turn.known_at,
        "collections": list(turn.collections),
        "filters": dict(turn.filters),
        "prompt_version": turn.prompt_version,
        "chunk_ids": list(turn.chunk_ids),
        "fact_ids": list(turn.fact_ids),
        "steps": [dict(step) for step in turn.steps],
        "feedback": dict(turn.feedback) if turn.feedback is not None else None,
        "created_at": turn.created_at,
    }


async def _found(kept: Conversations, scope: Scope, found: Found) -> dict[str, Any]:
    turn = found.turn
    return {
        "turn_id": turn.id,
        "conversation_id": turn.conversation_id,
        "title": (await kept.get(scope, turn.conversation_id)).title,
        "question": turn.question,
        "answer": turn.answer,
        "created_at": turn.created_at,
        "score": round(found.score, 6),
    }


def _file(parts: AsyncGenerator[bytes], name: str, form: Form) -> Response:
    media, suffix = _MEDIA[form]
    headers = {"Content-Disposition": f'attachment; filename="{name}.{suffix}"'}
    return StreamingResponse(parts, media_type=media, headers=headers)


def _answer(conversation: Conversation) -> dict[str, Any]:
    return ConversationAnswer.model_validate(conversation).model_dump(mode="json")
