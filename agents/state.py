"""What a run carries: State (keys nodes change), Context (per-run values), and small records in them.

State holds ids, scores and short texts, never documents or clients. Everything is JSON-able, so that a run looks
the same in `langgraph dev` as in process.

A node returns the keys it changes. Keys with a reducer are merged with what is there: `found` (best score per chunk),
`notes` (each once), `timings` and `steps`; the others are replaced. A node that writes text for the reader sends it
as it comes: `runtime.stream_writer(token("..."))`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from aegis.scope import LOCAL_USER, Scope
from memory.facts import Memory

TOP_K = 8  # passages a search of a run brings, unless the request says
MOST_FOUND = 40  # hits a run carries, over all its attempts

Route = Literal["retrieve", "relate", "converse", "inventory", "recall", "dispute"]
"""retrieve: look in documents; relate: documents and graph, several hops; converse: small talk, no retrieval;
inventory: counted in the catalogue; recall: asks about this conversation or earlier ones; dispute: says that the
answer before is wrong."""


@dataclass(frozen=True, slots=True)
class Context:
    """Per-run values with defaults, so that `langgraph dev` can run without any.

    `collections` None means what the user may see; the graph resolves it before a node runs, so nodes never meet it.
    Without a `turn_id` a run is not remembered.
    """

    user: str = LOCAL_USER
    collections: tuple[str, ...] | None = None
    conversation_id: str = ""
    turn_id: str = ""
    opens: bool = False  # the conversation: nothing was said in it before
    mode: str = "hybrid"
    top_k: int = TOP_K
    as_of: str | None = None
    known_at: int | None = None
    filters: dict[str, Any] = field(default_factory=dict[str, Any])
    fresh: bool = False  # not from the answer cache
    agreed: bool = False  # to a paid call of a cloud model, for this question
    stays: bool = False  # its words may not leave this machine, not even to an embedder

    @property
    def scope(self) -> Scope:
        return Scope(self.user, frozenset(self.collections or ()))


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
    chunk_id: str  # empty for what the person said
    score: float
    documents: NotRequired[list[str]]  # that state it
    memory: NotRequired[Memory]
    said: NotRequired[str]  # when, ISO 8601


class Recalled(TypedDict):
    """An earlier turn, as far as an answer about conversations needs it. `when` is ISO 8601."""

    turn_id: str
    conversation_id: str
    question: str
    answer: str
    when: str
    sources: list[str]  # titles that its answer cited


def token(text: str) -> dict[str, str]:
    """What a node writes to `runtime.stream_writer` for each piece of its answer."""
    return {"type": "token", "text": text}


def best_of(old: list[Found], new: list[Found]) -> list[Found]:
    """Each chunk once, with its best score; best first, at most MOST_FOUND."""
    best: dict[str, Found] = {}
    for hit in (*old, *new):
        if hit["chunk_id"] not in best or hit["score"] > best[hit["chunk_id"]]["score"]:
            best[hit["chunk_id"]] = hit
    return sorted(best.values(), key=lambda hit: -hit["score"])[:MOST_FOUND]


def each_once(old: list[str], new: list[str]) -> list[str]:
    return list(dict.fromkeys((*old, *new)))


def appended(old: Sequence[Any], new: Sequence[Any]) -> list[Any]:
    return [*old, *new]


def summed(old: dict[str, float], new: dict[str, float]) -> dict[str, float]:
    """A node that ran twice has spent both times."""
    return {**old, **{key: round(old.get(key, 0.0) + value, 3) for key, value in new.items()}}


class Asked(TypedDict):
    question: str
    standalone: str  # the question understood without its conversation; there after the first node


class State(Asked, total=False):
    history: list[dict[str, str]]  # [{"question", "answer"}] oldest first
    recalled: list[Recalled]  # turns that a question about conversations means, best first
    route: Route
    counted: dict[str, Any]  # rows of tables: {"text", "declined"}
    named: list[str]  # documents that the answer speaks of without a passage: counted in, listed by title
    found: Annotated[list[Found], best_of]
    facts: list[FactUsed]
    path: list[str]  # names of entities that led to the facts
    query: str  # what is searched for when a rewrite changed it; absent: `standalone`
    enough: bool
    judged: float  # how likely the passages answer, [0, 1]
    attempts: int
    epoch: int
    answer: str
    abstained: bool
    citations: list[dict[str, Any]]
    model: str
    tokens_in: int
    tokens_out: int
    cost: float  # US dollars
    first_token_ms: float | None  # from the call of the model to its first token
    offer: dict[str, Any] | None  # a paid call that only needs the reader's word
    notes: Annotated[list[str], each_once]
    timings: Annotated[dict[str, float], summed]  # node -> milliseconds; kept by graphs/step.py
    lookup: dict[str, str]  # under which the answer will be cached: id, key, by
    cached: dict[str, Any]  # of a cached answer: turn_id, question, answered_at, near, sources (titles)
    steps: Annotated[list[dict[str, Any]], appended]  # what each node found, as it is shown; kept by graphs/step.py
