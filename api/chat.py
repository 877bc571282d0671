"""Questions and answers, whole or as they are written.

A turn runs apart from the request that asked: whoever leaves finds it in the conversation, or joins it again at
`/conversations/{id}/running`; DELETE there stops it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from starlette.requests import HTTPConnection
from starlette.responses import Response

from aegis.errors import AegisError, Unavailable
from aegis.scope import Scope
from api import deps
from api.encoding import Json, StrictRoute
from api.limits import bounded
from api.schemas.chat import (
    ChatAnswer,
    ChatBody,
    CitationsEvent,
    ErrorEvent,
    FollowupsEvent,
    MetadataEvent,
    StepEvent,
    TokenEvent,
)
from api.streaming import EventStream, frame
from memory.conversations import Turn, told

router = APIRouter(prefix="/api/v1/chat", tags=["chat"], route_class=StrictRoute)


class Event(Protocol):
    @property
    def kind(self) -> str: ...
    @property
    def data(self) -> Mapping[str, Any]: ...


class Run(Protocol):
    """A turn under way. `events` replays what has happened, then follows."""

    @property
    def turn_id(self) -> str: ...
    @property
    def conversation_id(self) -> str: ...
    @property
    def error(self) -> AegisError | None:
        """Why it failed, once it is over."""
        ...

    def events(self) -> AsyncIterator[Event]: ...
    async def result(self) -> Turn: ...
    async def stop(self) -> None: ...


class Answering(Protocol):
    async def ask(
        self,
        scope: Scope,
        question: str,
        *,
        conversation_id: str | None = None,
        mode: str = "hybrid",
        top_k: int | None = None,
        as_of: datetime | None = None,
        known_at: int | None = None,
        filters: Any = None,
        fresh: bool = False,
        agreed: bool = False,
    ) -> Run: ...

    def running(self, scope: Scope, conversation_id: str) -> Run | None: ...


async def answering(connection: HTTPConnection) -> Answering:
    found = getattr(connection.app.state, "answering", None)
    if found is None:
        raise Unavailable("The server is starting or stopping; try again shortly.")
    return found


AnsweringOf = Annotated[Answering, Depends(answering)]

EVENTS: Mapping[str, type[BaseModel]] = {
    "metadata": MetadataEvent,
    "step": StepEvent,
    "token": TokenEvent,
    "citations": CitationsEvent,
    "followups": FollowupsEvent,
    "done": ChatAnswer,
    "error": ErrorEvent,
}


def _event_schema(name: str, model: type[BaseModel]) -> dict[str, Any]:
    data = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": {"$ref": f"#/components/schemas/{model.__name__}"},
    }
    properties = {"id": {"type": "string"}, "event": {"const": name}, "data": data}
    return {"type": "object", "title": name, "required": ["event", "data"], "properties": properties}


STREAM_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events; each `data` is one JSON object. Comments keep the line open.",
        "content": {
            "text/event-stream": {"itemSchema": {"oneOf": [_event_schema(*pair) for pair in EVENTS.items()]}},
        },
    }
}


@router.post("", response_model=ChatAnswer)
async def chat(body: ChatBody, scope: deps.ScopeOf, answering: AnsweringOf, settings: deps.SettingsOf) -> Response:
    """The whole answer, with citations that were checked against the documents."""
    bounded(body.question, settings, "question")
    run = await _asked(answering, scope, body)
    turn = await run.result()
    if run.error is not None:
        raise run.error
    return Json(told(turn))


@router.post("/stream", response_class=EventStream, responses=STREAM_RESPONSES)
async def stream(body: ChatBody, scope: deps.ScopeOf, answering: AnsweringOf, settings: deps.SettingsOf) -> Response:
    """The answer as it is written. Leaving does not stop it."""
    bounded(body.question, settings, "question")
    return EventStream(frames(await _asked(answering, scope, body)))


async def _asked(answering: Answering, scope: Scope, body: ChatBody) -> Run:
    return await answering.ask(
        scope,
        body.question,
        conversation_id=body.conversation_id,
        mode=body.mode,
        top_k=body.top_k,
        as_of=body.as_of,
        known_at=body.known_at,
        filters=body.filters.model_dump(exclude_defaults=True, mode="json") or None,
        fresh=body.fresh,
        agreed=body.agreed,
    )


async def frames(run: Run, after: int = 0) -> AsyncGenerator[bytes]:
    """The run's events, numbered from 1; those up to `after` are passed over (a reader that comes back has them)."""
    number = 0
    try:
        async for event in run.events():
            number += 1
            if number > after:
                yield frame(event.kind, event.data, f"{run.turn_id}.{number}")
    except AegisError as error:
        yield frame("error", {"code": error.code, "message": error.message})
