"""What a run carries: State (keys nodes change), Context (per-run values), and small records in them.

State holds ids, scores and short texts, never documents or clients. Everything is JSON-able, so that a run looks
the same in `langgraph dev` as in process.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from aegis.scope import DEFAULT_COLLECTION, LOCAL_USER, Scope

Route = Literal["retrieve", "relate", "converse", "inventory", "recall"]
"""retrieve: look in documents; relate: documents and graph, several hops; converse: small talk, no retrieval;
inventory: counted in the catalogue; recall: asks about this conversation or earlier ones."""


@dataclass(frozen=True, slots=True)
class Context:
    """Per-run values with defaults, so that `langgraph dev` can run without any."""

    user: str = LOCAL_USER
    collections: tuple[str, ...] = (DEFAULT_COLLECTION,)
    conversation_id: str = ""
    turn_id: str = ""
    mode: str = "hybrid"
    top_k: int = 8
    as_of: str | None = None
    known_at: int | None = None
    filters: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def scope(self) -> Scope:
        return Scope(self.user, frozenset(self.collections))


class Found(TypedDict):
    """A hit in the state: enough to show and to fetch it again."""

    chunk_id: str
    document_id: str
    title: str
    score: float
    via: list[str]


class FactUsed(TypedDict):
    fact_id: str
    text: str
    chunk_id: str
    score: float


class State(TypedDict, total=False):
    question: str
    standalone: str  # the question understood without its conversation
    history: list[dict[str, str]]  # [{"question", "answer"}] oldest first
    route: Route
    found: list[Found]
    facts: list[FactUsed]
    path: list[str]  # names of entities that led to the facts
    enough: bool
    attempts: int
    epoch: int
    answer: str
    abstained: bool
    citations: list[dict[str, Any]]
    model: str
    tokens_in: int
    tokens_out: int
    notes: list[str]
    timings: dict[str, float]
