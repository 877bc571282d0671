"""Standing questions: asked again when documents come in."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from api.schemas import Answer, Body, Identifier


class StandingBody(Body):
    """A turn that abstained."""

    turn_id: Identifier


class FoundEvidence(Answer):
    document_id: str
    chunk_id: str
    title: str
    quote: str


class QuestionAnswer(Answer):
    """`evidence`: passages that came in since and answer it; empty while it is open."""

    id: str
    question: str
    state: Literal["open", "answered"]
    turn_id: str
    conversation_id: str
    evidence: list[FoundEvidence]
    created_at: datetime
    found_at: datetime | None


class QuestionsAnswer(Answer):
    questions: list[QuestionAnswer]
    next: str | None
