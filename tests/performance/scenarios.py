"""What is asked, how often, and how the rate goes: the original report's mix, and one with everything else in it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from evals.bench import corpus

Kind = Literal["hybrid", "vector", "chat", "cached", "memory", "ingest", "health"]

ORIGINAL: Mapping[Kind, float] = {"hybrid": 0.735, "chat": 0.245, "vector": 0.015, "health": 0.005}
WIDER: Mapping[Kind, float] = {
    "hybrid": 0.50, "chat": 0.15, "cached": 0.15, "memory": 0.15, "vector": 0.015, "ingest": 0.03, "health": 0.005,
}  # fmt: skip
SEARCH = "/api/v1/retrieval/search"
POPULAR = 20  # questions that `cached` asks again and again
QUESTIONS = 2000
TOP_K = 10


@dataclass(frozen=True, slots=True)
class Scenario:
    """`rate(t)`: requests a second at second t of `seconds`."""

    name: str
    title: str
    seconds: float
    mix: Mapping[Kind, float]
    rate: Callable[[float], float]

    def due(self) -> Iterator[float]:
        """The seconds at which a request is due, whatever became of those before."""
        at = 0.0
        while at < self.seconds:
            yield at
            at += 1 / max(self.rate(at), 1.0)


@dataclass(frozen=True, slots=True)
class Request:
    """`body` None: a GET."""

    name: str
    path: str
    body: Mapping[str, Any] | None


def scenarios(*, short: bool = False, capacity: float | None = None) -> Mapping[str, Scenario]:
    """By name, in the order they run. `short`: a minute each. `capacity`: requests/s that the overload doubles."""
    minute = 60.0
    long, ramp = (minute, minute) if short else (5 * minute, 2 * minute)
    chosen = [
        Scenario("sustained", "50 requests/s", long, ORIGINAL, lambda _: 50.0),
        Scenario("ramp", "0 to 100 requests/s", ramp, ORIGINAL, lambda at: 100 * at / ramp),
        Scenario("peak", "100 requests/s", long, ORIGINAL, lambda _: 100.0),
        Scenario("wider", "50 requests/s with memory, ingestion and repeated questions", long, WIDER, lambda _: 50.0),
    ]
    if capacity is not None:
        most = 2 * capacity
        chosen.append(Scenario("overload", "0 to twice the capacity", ramp, ORIGINAL, lambda at: most * at / ramp))
    return {scenario.name: scenario for scenario in chosen}


def requests(mix: Mapping[Kind, float], seed: int = 5) -> Iterator[Request]:
    """Without end, the same for the same seed."""
    chosen = random.Random(seed)
    asked = corpus.questions(QUESTIONS)
    fresh = corpus.documents(10_000_000, seed=23)
    kinds, weights = list(mix), list(mix.values())
    while True:
        kind = chosen.choices(kinds, weights)[0]
        question = asked[chosen.randrange(POPULAR if kind == "cached" else len(asked))]
        yield _request(kind, question, fresh)


def _request(kind: Kind, question: str, fresh: Iterator[Mapping[str, Any]]) -> Request:
    match kind:
        case "hybrid" | "vector":
            return Request(f"search, {kind}", SEARCH, {"query": question, "mode": kind, "top_k": TOP_K})
        case "chat":
            return Request("chat", "/api/v1/chat", {"question": question})
        case "cached":
            return Request("chat, asked before", "/api/v1/chat", {"question": question})
        case "memory":
            return Request("memory search", "/api/v1/memory/search", {"query": question})
        case "ingest":
            return Request("ingest", "/api/v1/retrieval/ingest", {"documents": [next(fresh)]})
        case "health":
            return Request("health", "/health", None)
