"""Facts, the passages that state them, and what is around an entity."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from api.schemas import MAX_TEXT, Answer, Body, Epoch, Filled, Moment, Name, Plain


class EntityAnswer(Answer):
    id: str
    name: str
    labels: list[str]


class EvidenceAnswer(Answer):
    document_id: str
    version_id: str
    chunk_id: str
    start: int
    end: int
    quote: str
    turn_id: str
    conversation_id: str
    dated: datetime | None


class FactAnswer(Answer):
    """`source` and `target` are the names of the two things that the fact relates. True from `valid_at` to
    `invalid_at`; known from `learnt_at`, known to be superseded since `expired_at`."""

    id: str
    text: str
    relation: str
    source: str
    source_id: str
    target: str
    target_id: str
    valid_at: datetime | None
    invalid_at: datetime | None
    learnt_at: datetime | None
    expired_at: datetime | None
    memory: Literal["documents", "conversations"]
    state: Literal["stated", "confirmed", "forbidden"]
    evidence: list[EvidenceAnswer]


class FactBody(Body):
    """A correction (any of the first six), or `confirmed`, or `forbidden` with a reason."""

    text: Annotated[Filled, Field(max_length=2000)] | None = None
    relation: Annotated[str, Field(max_length=120, pattern=r"^[A-Z][A-Z0-9_]{0,119}$")] | None = None
    source: Name | None = None
    target: Name | None = None
    valid_at: Moment | None = None
    invalid_at: Moment | None = None
    confirmed: bool = False
    forbidden: bool = False
    reason: Annotated[Plain, Field(max_length=2000)] | None = None


class ConflictAnswer(Answer):
    """Facts with the same subject and relation and different objects, in different documents."""

    subject: str
    subject_id: str
    relation: str
    told: str
    claims: list[FactAnswer]


class ConflictsAnswer(Answer):
    conflicts: list[ConflictAnswer]


class AuditAnswer(Answer):
    """`missing`: facts of which no quote stands in its source; `missing_share` of all. `unproven`: facts without
    evidence; `orphans`: entities that belong to nothing; `contradictions`: as `conflicts` lists them."""

    facts: int
    entities: int
    missing: list[str]
    missing_share: float
    unproven: int
    orphans: int
    contradictions: int


class FoundFact(FactAnswer):
    score: float


class MemorySearchBody(Body):
    query: Annotated[Filled, Field(max_length=MAX_TEXT)]
    limit: Annotated[int, Field(ge=1, le=100)] = 10
    as_of: Moment | None = None
    known_at: Epoch | Moment | None = None
    memory: Literal["documents", "conversations"] | None = None


class MemorySearchAnswer(Answer):
    facts: list[FoundFact]
    took_ms: float


class NeighbourhoodAnswer(Answer):
    """`path` holds entity ids in order when a path was asked for; `summary` what is known of the entity, in the
    sentences that say most, once a consolidation has chosen them."""

    entities: list[EntityAnswer]
    facts: list[FactAnswer]
    path: list[str]
    summary: str = ""


class FactsAnswer(Answer):
    facts: list[FactAnswer]
    next: str | None
