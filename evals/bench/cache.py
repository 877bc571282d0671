"""The answer cache: which paraphrases it takes for one another, and what it saves under load.

The paraphrases are the project's own (`tests/agents/paraphrases.jsonl`): how many are hits, by kind, and the curve of
the threshold. The load is a server of its own with made-up documents, asked 2,000 different questions with Zipf's
distribution: the hit rate, latencies of hits and misses, and the time saved. AEGIS_BENCH_REQUESTS changes how many.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from aegis.errors import NotFound
from agents.agreement import disagreement
from agents.cache import SIMILAR
from evals.bench.server import ROOT, running_server
from retrieval.embedding.wordllama import load_wordllama

PAIRS = ROOT / "tests" / "agents" / "paraphrases.jsonl"
QUESTIONS = 2_000
DOCUMENTS = 500  # each answers four questions
ZIPF = 1.1
CALLERS = 4
CHAT = "/api/v1/chat"

_ASKED = (
    ("Who maintains the {thing}?", "The {thing} is maintained by {name}."),
    ("Where does the {thing} stand?", "It stands in hall {number} of the {thing} building."),
    ("How often is the {thing} inspected?", "The {thing} is inspected every {number} weeks."),
    ("When was the {thing} bought?", "The {thing} was bought in {year}."),
)
_FIRST = [
    "Amber",
    "Basalt",
    "Cobalt",
    "Delta",
    "Ember",
    "Fjord",
    "Garnet",
    "Heron",
    "Indigo",
    "Jasper",
    "Krypton",
    "Lumen",
    "Marble",
    "Nimbus",
    "Opal",
    "Prism",
    "Quartz",
]
_SECOND = [
    "boiler",
    "printer",
    "lift",
    "gate",
    "pump",
    "crane",
    "scanner",
    "oven",
    "press",
    "turbine",
    "mixer",
    "kiln",
    "loom",
    "drill",
    "plotter",
    "furnace",
]
_NAMES = ["Anna Berg", "Jon Dahl", "Mia Holm", "Leo Lund", "Eva Moe", "Max Vik"]


@dataclass(frozen=True, slots=True)
class Pair:
    kind: str
    half: str
    cosine: float
    agree: bool

    def hit(self, threshold: float = SIMILAR) -> bool:
        return self.agree and self.cosine >= threshold


def bench(*, quiet: bool = False) -> dict[str, Any]:
    found = {"paraphrases": paraphrases(), "load": asyncio.run(load())}
    if not quiet:
        _show(found)
    return found


def paraphrases(file: Path = PAIRS) -> dict[str, Any]:
    """Raises NotFound where the set is not here, as in an installation without tests."""
    if not file.is_file():
        raise NotFound(f"The paraphrase set {file} is not here; it comes with the tests.")
    pairs = _judged([json.loads(line) for line in file.read_text("utf-8").splitlines()])
    curve = {round(float(at), 2): _rates(pairs, float(at)) for at in np.arange(0.4, 0.96, 0.05)}
    halves = {half: _kinds([pair for pair in pairs if pair.half == half]) for half in ("tuning", "held out")}
    without = [Pair(pair.kind, pair.half, pair.cosine, agree=True) for pair in pairs]
    return {
        "pairs": len(pairs),
        "threshold": SIMILAR,
        "kinds": _kinds(pairs),
        "halves": halves,
        "curve": curve,
        "by_cosine_alone": {at: _rates(without, at) for at in (0.7, 0.8, 0.9, 0.95)},
    }


def _judged(rows: Sequence[dict[str, str]]) -> list[Pair]:
    embedder = load_wordllama()
    pairs: list[Pair] = []
    for row in rows:
        one, other = embedder.embed_now([row["one"], row["other"]])
        agree = disagreement(row["one"], row["other"], embedder.word_vectors) is None
        pairs.append(Pair(row["kind"], row["half"], float(one @ other), agree))
    return pairs


def _kinds(pairs: Sequence[Pair]) -> dict[str, dict[str, int]]:
    kinds = dict.fromkeys(pair.kind for pair in pairs)
    return {
        kind: {
            "hits": sum(pair.hit() for pair in pairs if pair.kind == kind),
            "pairs": sum(pair.kind == kind for pair in pairs),
        }
        for kind in kinds
    }


def _rates(pairs: Sequence[Pair], threshold: float) -> dict[str, float]:
    same = [pair.hit(threshold) for pair in pairs if pair.kind == "same"]
    other = [pair.hit(threshold) for pair in pairs if pair.kind != "same"]
    return {"hits": round(sum(same) / len(same), 3), "false_hits": round(sum(other) / len(other), 4)}


async def load(requests: int = 0, **settings: str) -> dict[str, Any]:
    """Questions that come again as Zipf has it, asked of a server with these settings."""
    requests = requests or int(os.environ.get("AEGIS_BENCH_REQUESTS", "6000"))
    with tempfile.TemporaryDirectory() as folder:
        async with (
            running_server(Path(folder) / "var", {"AEGIS_INGESTION__SAMPLES": "no", **settings}) as server,
            httpx.AsyncClient(base_url=server.url, timeout=120, trust_env=False) as client,
        ):
            questions = await _filled(client)
            return await _asked(client, questions, requests)


async def _filled(client: httpx.AsyncClient) -> list[str]:
    """Takes the documents in; the questions they answer."""
    chance = np.random.default_rng(7)
    documents: list[dict[str, str]] = []
    questions: list[str] = []
    for number in range(DOCUMENTS):
        thing = f"{_FIRST[number % 17]} {_SECOND[number // 17 % 16]} {number // 272 + 1}"
        values = {
            "thing": thing,
            "name": str(chance.choice(_NAMES)),
            "number": number % 40 + 2,
            "year": 1980 + number % 40,
        }
        text = " ".join(said.format(**values) for _, said in _ASKED)
        documents.append({"source": f"{thing}.md", "title": thing, "text": text})
        questions += [asked.format(**values) for asked, _ in _ASKED]
    job = (await client.post("/api/v1/retrieval/ingest", json={"documents": documents})).json()["job_id"]
    while (await client.get(f"/api/v1/retrieval/jobs/{job}")).json()["state"] not in ("done", "failed"):  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    return questions[:QUESTIONS]


async def _asked(client: httpx.AsyncClient, questions: Sequence[str], requests: int) -> dict[str, Any]:
    chance = np.random.default_rng(11)
    weights = 1 / np.arange(1, len(questions) + 1) ** ZIPF
    order = chance.permutation(len(questions))
    chosen = order[chance.choice(len(questions), requests, p=weights / weights.sum())]
    took: dict[str, list[float]] = {"exact": [], "near": [], "missed": []}
    outcomes: Counter[str] = Counter()
    waiting = iter(chosen)

    async def caller() -> None:
        for number in waiting:
            started = time.perf_counter()
            answer = (await client.post(CHAT, json={"question": questions[int(number)]})).json()
            cached = answer.get("cached")
            outcome = "missed" if not cached else "near" if cached["near"] else "exact"
            outcomes["abstained" if answer.get("abstained") else outcome] += 1
            took[outcome].append((time.perf_counter() - started) * 1000)

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    seconds = time.perf_counter() - started
    alone = await _alone(client, questions[int(order[0])])
    hits = len(took["exact"]) + len(took["near"])
    saved = sum(np.mean(took["missed"]) - np.array(took["exact"] + took["near"]))
    return {
        "requests": requests, "questions": len(questions), "zipf": ZIPF, "seconds": round(seconds, 1),
        "callers": CALLERS,
        "hit_rate": round(hits / requests, 3), "outcomes": dict(outcomes),
        "saved_seconds": round(float(saved) / 1000, 1),
        "milliseconds": {name: _quantiles(values) for name, values in took.items() if values}, "one_at_a_time": alone,
    }  # fmt: skip


async def _alone(client: httpx.AsyncClient, question: str) -> dict[str, Any]:
    """A cached answer and a fresh one, asked one after the other by one caller."""
    found: dict[str, Any] = {}
    for name, fresh in (("cached", False), ("fresh", True)):
        values: list[float] = []
        for _ in range(200):
            started = time.perf_counter()
            await client.post(CHAT, json={"question": question, "fresh": fresh})
            values.append((time.perf_counter() - started) * 1000)
        found[name] = _quantiles(values)
    return found


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    return {"p50": round(float(p50), 2), "p95": round(float(p95), 2), "p99": round(float(p99), 2)}


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console, said, load = Console(), found["paraphrases"], found["load"]
    table = Table("kind", "pairs", "taken for the same", "held out", title=f"{said['pairs']} pairs of questions")
    for kind, row in said["kinds"].items():
        held = said["halves"]["held out"].get(kind, {"hits": 0, "pairs": 0})
        table.add_row(kind, str(row["pairs"]), str(row["hits"]), f"{held['hits']} of {held['pairs']}")
    console.print(table)
    table = Table("cosine", "hits", "false hits", title=f"Threshold (set to {said['threshold']}), with the rules")
    for at, row in said["curve"].items():
        table.add_row(f"{at:.2f}", f"{row['hits']:.1%}", f"{row['false_hits']:.2%}")
    console.print(table)
    for at, row in said["by_cosine_alone"].items():
        console.print(f"Without the rules, at {at}: {row['hits']:.1%} hits, {row['false_hits']:.1%} false hits.")
    table = Table(
        "answer", "p50 ms", "p95 ms", "p99 ms", title=f"{load['requests']} requests over {load['questions']} questions"
    )
    named = [
        *load["milliseconds"].items(),
        *((f"{name}, one caller", row) for name, row in load["one_at_a_time"].items()),
    ]
    for name, row in named:
        table.add_row(name, *(str(row[key]) for key in ("p50", "p95", "p99")))
    console.print(table)
    console.print(
        f"Hit rate {load['hit_rate']:.1%}; {load['saved_seconds']} s saved of the time that answering would take."
    )
