"""A search, its hits, and why a document is not among them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from aegis.settings import Fusion
from api.schemas import MAX_TEXT, Answer, Body, Epoch, Filled, Moment, Name, Plain, SearchMode, Source, Tag


class Filters(Body):
    """All conditions hold together; `tag` means all of these tags. Dates are the documents' own."""

    collection: Name | None = None
    source: Source | None = None
    type: Annotated[Plain, Field(max_length=120)] | None = None
    tag: Annotated[list[Tag], Field(max_length=20)] = []
    date_from: Moment | None = None
    date_to: Moment | None = None


class SearchBody(Body):
    query: Annotated[Filled, Field(max_length=MAX_TEXT)]
    mode: SearchMode = "hybrid"
    top_k: Annotated[int, Field(ge=1, le=100)] | None = None
    filters: Annotated[Filters, Field(default_factory=Filters)]
    rerank: bool = False
    fusion: Fusion | None = None
    collapse: bool = False
    diversity: Annotated[float, Field(ge=0, le=1)] = 0.0
    as_of: Moment | None = None
    known_at: Epoch | None = None


class WhyBody(SearchBody):
    document_id: Annotated[str, Field(min_length=1, max_length=64)]


class StageAnswer(Answer):
    """`passed` is null where the stage has no say; `rank` counts from 1, null behind those looked through."""

    name: Literal["extraction", "chunk", "scope", "keyword", "dense", "mentions", "cut", "evidence"]
    passed: bool | None
    says: str
    rank: int | None
    score: float | None
    cutoff: float | None
    chunk_id: str | None


class WhyAnswer(Answer):
    """`lost_at` is the stage that kept the document from the evidence; null when it got there."""

    document_id: str
    title: str
    lost_at: str | None
    stages: list[StageAnswer]


class HitAnswer(Answer):
    """A passage. `text == document_text[start:end]`, in code points; scores compare within one search only."""

    model_config = ConfigDict(extra="forbid")
    chunk_id: str
    document_id: str
    version_id: str
    source: str
    title: str
    collection: str
    page: str | None
    heading: str | None
    text: str
    start: int
    end: int
    score: float
    via: list[str]
    duplicates: list[str]
    warning: str | None


class SearchAnswer(Answer):
    model_config = ConfigDict(extra="forbid")
    hits: list[HitAnswer]
    mode: SearchMode
    took_ms: float
