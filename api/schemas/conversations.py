"""Conversations, their turns, and what may leave the machine of them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas import Answer, Body, Filled
from api.schemas.chat import ChatAnswer


class TurnAnswer(ChatAnswer):
    question: str
    mode: str
    top_k: int
    as_of: str | None
    known_at: int | None
    collections: list[str]
    filters: dict[str, Any]
    prompt_version: str
    chunk_ids: list[str]
    fact_ids: list[str]
    steps: list[dict[str, Any]]
    feedback: dict[str, Any] | None
    created_at: datetime | None
    recalled: RecalledAnswer | None = None


class RecalledAnswer(Answer):
    """A source of this answer has changed since. queued: it will be asked again; different: what it would be today, the
    sentences that would be gone and new."""

    state: Literal["queued", "different"]
    changed_at: datetime
    answer: str | None = None
    abstained: bool | None = None
    gone: list[str] = []
    new: list[str] = []
    sources: list[str] = []


class ConversationAnswer(Answer):
    id: str
    title: str
    created_at: datetime
    updated_at: datetime


class ConversationsAnswer(Answer):
    conversations: list[ConversationAnswer]
    next: str | None


class ConversationWithTurns(ConversationAnswer):
    """`summary`: what was said before the last turns, where a language model on this machine has written it."""

    summary: str
    turns: list[TurnAnswer]
    next: str | None


class FoundTurn(Answer):
    turn_id: str
    conversation_id: str
    title: str
    question: str
    answer: str
    created_at: datetime | None
    score: float


class FoundTurnsAnswer(Answer):
    hits: list[FoundTurn]
    took_ms: float


class ReceiptAnswer(Answer):
    """`further`: how much of what had been drawn from it went with it, by name."""

    conversation_id: str
    turns: int
    archives: int
    further: dict[str, int]


class TakenInAnswer(Answer):
    conversations: int
    turns: int
    known: int


class ShareableAnswer(Answer):
    """`clouds`: models that could be asked if it is shareable; none where the operator allows none. `collections`:
    whose documents may go along, `*` for all. `asks`: each call needs the reader's word instead. `rests_on_private`: an
    answer was made from a document that is marked private, so nothing of the conversation leaves, shareable or not."""

    shareable: bool
    rests_on_private: bool
    asks: bool
    clouds: list[str]
    collections: list[str]


class RenameBody(Body):
    title: Annotated[Filled, Field(max_length=200)]
