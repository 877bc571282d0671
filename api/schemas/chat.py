"""A question, its answer, and the events of a stream."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from api.schemas import MAX_TEXT, Answer, Body, Epoch, Filled, Identifier, Moment, SearchMode
from api.schemas.search import Filters


class ChatBody(Body):
    question: Annotated[Filled, Field(max_length=MAX_TEXT)]
    conversation_id: Identifier | None = None
    mode: SearchMode = "hybrid"
    top_k: Annotated[int, Field(ge=1, le=100)] | None = None
    filters: Annotated[Filters, Field(default_factory=Filters)]
    as_of: Moment | None = None
    known_at: Epoch | None = None
    fresh: Annotated[bool, Field(description="Answer anew, not from the answer cache")] = False
    agreed: Annotated[bool, Field(description="Allow a paid call of a cloud model for this question")] = False


class CitationAnswer(Answer):
    """`quote == document_text[start:end]`; `support` is the share of the cited sentence's words in the quote."""

    marker: int
    document_id: str
    version_id: str
    chunk_id: str
    source: str
    title: str
    start: int
    end: int
    quote: str
    support: float
    page: str | None
    heading: str | None
    warning: str | None = None  # what is known against the document's text: "12 of 40 pages have no text"


class CachedAnswer(Answer):
    """Where a cached answer comes from: it was given to `question`, which only resembles the one asked if `near`, and
    rests on the documents with these titles, which were compared since. `fresh: true` asks anew."""

    turn_id: str
    question: str
    answered_at: datetime
    near: bool
    sources: list[str]


class OfferAnswer(Answer):
    """A cloud model that would answer if the question were asked again with `agreed`. `cost`: at most, US dollars."""

    provider: str
    model: str
    cost: float
    reason: str


class UsedFact(Answer):
    """A fact that led to an answer; `text` may be cut. PATCH on `memory/facts/{fact_id}` puts it right."""

    fact_id: str
    text: str
    memory: Literal["documents", "conversations"] = "documents"
    chunk_id: str = ""
    said: str = ""  # when, of what the person said


class ChatAnswer(Answer):
    """`cost` in US dollars; `first_token_ms` from the call of the model, null where none wrote."""

    answer: str
    abstained: bool
    citations: list[CitationAnswer]
    route: str
    conversation_id: str
    turn_id: str
    model: str
    timings: dict[str, float]
    state: Literal["running", "done", "failed", "stopped", "interrupted"]
    standalone: str
    tokens_in: int
    tokens_out: int
    cost: float
    first_token_ms: float | None
    prompt_version: str
    offer: OfferAnswer | None
    epoch: int
    notes: list[str]
    cached: CachedAnswer | None = None
    facts: list[UsedFact] = []


class MetadataEvent(BaseModel):
    conversation_id: str
    turn_id: str


class StepEvent(BaseModel):
    """A node of the graph starts or ends; `detail` is what it found, as shown to the reader."""

    node: str
    state: Literal["start", "end"]
    summary: str
    took_ms: float | None = None
    detail: Any = None


class TokenEvent(BaseModel):
    text: str


class CitationsEvent(BaseModel):
    citations: list[CitationAnswer]


class FollowupsEvent(BaseModel):
    questions: list[str]


class ErrorEvent(BaseModel):
    code: str
    message: str
