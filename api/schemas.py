"""What goes over the wire. Bodies refuse unknown fields and are bounded; strings hold no NUL (PostgreSQL takes none)
and no half surrogates (UTF-8 has none)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from aegis.settings import Fusion
from retrieval.catalogue import NEVER

MAX_TEXT = 100_000  # a longer question or query is refused before the setting's own bound is looked at


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain the NUL character")
    text.encode()  # a half surrogate raises UnicodeEncodeError, which is a ValueError
    return text


def _filled(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _moment(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("must be a date or a date and time, such as 2024-05-31 or 2024-05-31T12:00:00Z")
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be a date or a date and time, such as 2024-05-31 or 2024-05-31T12:00:00Z") from None


Plain = Annotated[str, AfterValidator(_storable)]
Filled = Annotated[Plain, AfterValidator(_filled)]
Identifier = Annotated[Plain, Field(min_length=1, max_length=64)]
Name = Annotated[Filled, Field(max_length=120)]
Tag = Annotated[Filled, Field(max_length=60)]
Source = Annotated[Filled, Field(max_length=2000)]
Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "description": "ISO 8601 date, or date and time; UTC where no zone is given"}),
]
Epoch = Annotated[int, Field(ge=0, lt=NEVER, description="As it was known at this epoch")]
SearchMode = Literal["hybrid", "vector", "keyword", "graph", "auto"]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Answer(BaseModel):
    """What we send. Extra attributes of our own records are not passed on."""

    model_config = ConfigDict(from_attributes=True)


# -- errors


class ErrorDetail(BaseModel):
    code: str
    message: str
    details: dict[str, Any]
    request_id: str


class ErrorEnvelope(BaseModel):
    error: ErrorDetail


# -- search


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


# -- ingestion


class DocumentBody(Body):
    source: Source
    text: Plain
    title: Annotated[Filled, Field(max_length=500)] | None = None
    collection: Name | None = None
    tags: Annotated[list[Tag], Field(max_length=20)] = []


class IngestBody(Body):
    documents: Annotated[list[DocumentBody], Field(min_length=1, max_length=10_000)]


class JobStarted(Answer):
    job_id: str


class FileAnswer(Answer):
    source: str
    state: str
    document_id: str | None
    chunks: int
    code: str | None
    reason: str | None
    stage: str | None
    warning: str | None  # it was taken in, but: "12 of 40 pages have no text"


class JobAnswer(Answer):
    job_id: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    files: int
    done: int
    chunks: int
    unchanged: int
    failures: list[FileAnswer]
    warnings: list[FileAnswer]
    waits: FileAnswer | None
    seconds_left: float | None
    created_at: datetime
    updated_at: datetime


class JobsAnswer(Answer):
    jobs: list[JobAnswer]
    next: str | None


class FilesAnswer(Answer):
    reports: list[FileAnswer]
    next: str | None


# -- documents


class DocumentAnswer(Answer):
    id: str
    collection: str
    source: str
    title: str
    media_type: str
    version_id: str
    content_hash: str
    chars: int
    chunks: int
    verdict: dict[str, Any]
    tags: list[str]
    dated: datetime | None
    indexed_at: datetime


class DocumentsAnswer(Answer):
    documents: list[DocumentAnswer]
    next: str | None


class TextAnswer(Answer):
    """`text` is the part from `start` to `end`; `chars` the length of the whole, in code points."""

    document_id: str
    version_id: str
    start: int
    end: int
    chars: int
    text: str


# -- chat


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


# -- conversations


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
    whose documents may go along, `*` for all. `asks`: each call needs the reader's word instead."""

    shareable: bool
    asks: bool
    clouds: list[str]
    collections: list[str]


class RenameBody(Body):
    title: Annotated[Filled, Field(max_length=200)]


class FeedbackBody(Body):
    turn_id: Identifier
    value: Literal[-1, 0, 1]
    comment: Annotated[Plain, Field(max_length=4000)] = ""


# -- standing questions


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


# -- memory


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


class ForgetBody(Body):
    documents: Annotated[list[Identifier], Field(max_length=1000)] = []
    conversations: Annotated[list[Identifier], Field(max_length=1000)] = []
    erase: bool = False


class ForgottenDocument(Answer):
    """How far it went, by store."""

    document_id: str
    stores: dict[str, Literal["not findable", "erased from disk"]]


class ForgottenConversation(Answer):
    conversation_id: str
    turns: int
    stores: dict[str, Literal["not findable", "erased from disk"]]


class ForgottenAnswer(Answer):
    documents: list[ForgottenDocument]
    conversations: list[ForgottenConversation]


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


class ChangeAnswer(Answer):
    """`other_id`: the fact that replaced this one. `by`: a user, or `rule`. Of what was merged or pruned the ids are
    those of entities."""

    id: str
    fact_id: str
    kind: Literal["superseded", "corrected", "forbidden", "confirmed", "merged", "pruned", "restored"]
    other_id: str
    reason: str
    by: str
    at: datetime
    undone_at: datetime | None


class ChangesAnswer(Answer):
    changes: list[ChangeAnswer]


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


class ConsolidationAnswer(Answer):
    """The last one, or the one under way. `merged` and `pruned` entities are listed with the changes; `summarised`: of
    how many entities the summary changed."""

    running: bool
    phase: Literal["merge", "prune", "summarise", "done"] | None
    started_at: datetime | None
    ended_at: datetime | None
    merged: int
    pruned: int
    summarised: int


class FactsAnswer(Answer):
    facts: list[FactAnswer]
    next: str | None


# -- models


class ModelServerAnswer(Answer):
    """`state`: resting means that it failed several times in a row and is left alone for a while."""

    address: str
    state: Literal["up", "unreachable", "resting"]
    busy: int
    served: int
    models: list[str]


class BudgetAnswer(Answer):
    """US dollars of one day (2026-11-25) or month (2026-11), UTC; calls under way count with the most they can cost."""

    kind: Literal["provider", "user"]
    name: str
    period: str
    spent: float
    limit: float
    share: float


class ModelsAnswer(Answer):
    """`answers`: who would answer a private question now. `clouds`: what could answer one that may leave.
    `warnings`: budgets that are nearly spent, cloud models without a price."""

    answers: str
    advice: str
    clouds: list[str]
    warnings: list[str]
    servers: list[ModelServerAnswer]
    budgets: list[BudgetAnswer]


class JudgeBody(Body):
    """`evidence`: what the answer quotes; `reference`: what it should say, if that is known."""

    question: Annotated[Filled, Field(max_length=MAX_TEXT)]
    answer: Annotated[Filled, Field(max_length=MAX_TEXT)]
    evidence: Annotated[list[Annotated[Plain, Field(max_length=MAX_TEXT)]], Field(max_length=100)] = []
    reference: Annotated[Plain, Field(max_length=MAX_TEXT)] = ""


class VerdictAnswer(Answer):
    """`grade` is 1 correct, .5 partly, 0 wrong; null where the model said none of these."""

    grade: float | None
    says: str
    model: str


# -- operation


class HealthAnswer(Answer):
    status: Literal["ok"]
    version: str


class CheckAnswer(Answer):
    """One backend. `state` is up, down, or the backend's own word (`rebuilding`, with `detail.progress`)."""

    name: str
    state: str
    required: bool
    took_ms: float
    message: str | None
    detail: dict[str, Any]


class ReadyAnswer(Answer):
    status: Literal["ready", "degraded", "unavailable"]
    version: str
    checks: list[CheckAnswer]


class RestoreAnswer(Answer):
    """`done` of `total`: members of the file, rows or chunks, by phase. `message` says why it failed."""

    phase: Literal["none", "receiving", "checking", "restoring", "switching", "indexing", "done", "failed"]
    running: bool
    done: int
    total: int
    message: str


class RebuildAnswer(Answer):
    """`done` of `total` chunks; `total` is 0 before it is known."""

    running: bool
    done: int
    total: int


class ReindexAnswer(Answer):
    """`waits` is why it does not go on just now, or why it ended unfinished."""

    embedder: str
    running: bool
    done: int
    total: int
    waits: str | None
