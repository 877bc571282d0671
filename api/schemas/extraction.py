"""Facts drawn by a language model: what waits, and what is held back."""

from __future__ import annotations

from datetime import datetime

from api.schemas import Answer


class QuarantinedAnswer(Answer):
    """What a model claimed without its passage stating it. `quote`: the sentence that comes closest."""

    id: str
    subject: str
    relation: str
    object: str
    text: str
    quote: str
    reason: str
    model: str
    at: datetime
    chunk_id: str
    document_id: str
    title: str


class QuarantineAnswer(Answer):
    facts: list[QuarantinedAnswer]
    next: str | None


class ReleasedAnswer(Answer):
    fact_id: str


class EstimateAnswer(Answer):
    """What reading `chunks` takes, from a sample of `sampled`; `cost` in US dollars."""

    chunks: int
    sampled: int
    calls: int
    tokens_in: int
    tokens_out: int
    cost: float


class ExtractionAnswer(Answer):
    """Chunks read by a model, by state. `undecided`: waiting, and nobody has agreed to pay for them. `estimate`: where
    somebody has to agree first. `waits`: why nothing is read although something waits."""

    enabled: bool
    provider: str | None
    model: str | None
    paid: bool
    waiting: int
    running: int
    done: int
    failed: int
    undecided: int
    quarantined: int
    waits: str
    failures: list[str]
    estimate: EstimateAnswer | None
