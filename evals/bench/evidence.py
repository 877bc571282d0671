"""The evidence judgement as a curve: does its score tell questions that the passages answer from those they do not?

Three kinds of pairs, from any ranking set: a question with what the search finds (it answers, where gold is among it);
the same question with all its gold passages taken away (near misses: the hardest, they share subject and words); and
questions that the set itself marks as having no answer in it. Reliability: share answered by score in tenths. The
interval is a bootstrap over questions.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.condense import standalone
from agents.ground import BARELY, ENOUGH, JUDGED, judge
from evals.bench.datasets import RankingSet, dataset_folder, lines, ranking_sets
from evals.bench.shelf import SCOPE, Shelf, open_shelf, whole
from inference import Passage
from retrieval.embedding import open_embedder
from retrieval.embedding.named import embedder_settings
from retrieval.search import Hit, SearchRequest

DEPTH = 20
MOST = 200  # questions of a set
DRAWS = 500
SEED = 0
BINS = 10

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """Scores of questions that what was found answers, and of others: without their gold, and without an answer."""

    answered: Sequence[float]
    near_misses: Sequence[float]
    unanswerable: Sequence[float]


def bench(*, quiet: bool = False, dataset: str = "all", embedder: str = "wordllama") -> dict[str, Any]:
    """Raises NotFound without data sets."""
    found = asyncio.run(_measure(list(ranking_sets(dataset)), embedder))
    if not quiet:
        _show(found)
    return found


async def _measure(chosen: Sequence[RankingSet], embedder: str) -> dict[str, Any]:
    judged = dict[str, Judged]()
    async with open_embedder(embedder_settings(embedder)) as opened:
        for each in chosen:
            with tempfile.TemporaryDirectory() as folder:
                async with open_shelf(Path(folder), opened) as shelf:
                    names = {f"passage-{number}": found for number, found in enumerate(each.passages)}
                    await shelf.put([whole(name, found.title, found.text) for name, found in names.items()])
                    judged[each.name] = await _judged(shelf, each, {name: found.id for name, found in names.items()})
        name = opened.name
    return {"embedder": name, "datasets": {each: _figures(scores) for each, scores in judged.items()}}


async def _judged(shelf: Shelf, given: RankingSet, ids: Mapping[str, str]) -> Judged:
    answered, missed, unanswerable = list[float](), list[float](), list[float]()
    for identifier, question in _asked(given):
        gold = given.qrels.get(identifier, {})
        found = await shelf.searcher().search(SCOPE, SearchRequest(question, top_k=DEPTH))
        right = [hit for hit in found if ids[hit.chunk.document_id] in gold]
        if not gold:
            unanswerable.append(await _score(shelf, question, found))
            continue
        if any(hit in right for hit in found[:JUDGED]):
            answered.append(await _score(shelf, question, found))
        missed.append(await _score(shelf, question, [hit for hit in found if hit not in right]))
    return Judged(answered, missed, unanswerable)


async def _score(shelf: Shelf, question: str, hits: Sequence[Hit]) -> float:
    passages = [
        Passage(
            marker, hit.chunk.id, hit.chunk.title, hit.chunk.text, hit.chunk.span.start, hit.score, hit.chunk.heading
        )
        for marker, hit in enumerate(hits[:JUDGED], 1)
    ]
    return await judge(question, passages, shelf.static.embed)


def _asked(given: RankingSet) -> Iterator[tuple[str, str]]:
    """Questions as they stand alone, evenly drawn from those with gold, and all that have none."""
    rows = list(lines(dataset_folder(given.name) / "queries.jsonl"))
    known = [row for row in rows if str(row["id"]) in given.qrels]
    drawn = known[:: max(1, len(known) // MOST)][:MOST]
    without = [row for row in rows if str(row["id"]) not in given.qrels and row["text"].strip()]
    for row in (*drawn, *without):
        yield str(row["id"]), standalone(row["text"], _before(row))


def _before(row: Mapping[str, Any]) -> list[dict[str, str]]:
    turns = list[dict[str, str]]()
    for said in (row.get("meta") or {}).get("history") or ():
        if said["speaker"] == "user":
            turns.append({"question": said["text"], "answer": ""})
        elif turns:
            turns[-1]["answer"] = said["text"]
    return turns


def _figures(judged: Judged) -> dict[str, Any]:
    found: dict[str, Any] = {"answered": len(judged.answered)}
    for name, others in (("near_misses", judged.near_misses), ("unanswerable", judged.unanswerable)):
        if others and judged.answered:
            found[name] = {"questions": len(others), **separation(judged.answered, others)}
    return found


def separation(right: Sequence[float], wrong: Sequence[float]) -> dict[str, Any]:
    """How well scores tell them apart: AUROC with its 95 % interval, the curve, and the shares that go on."""
    yes, no = np.array(right), np.array(wrong)
    random = np.random.default_rng(SEED)
    drawn = [auroc(random.choice(yes, len(yes)), random.choice(no, len(no))) for _ in range(DRAWS)]
    low, high = np.percentile(drawn, (2.5, 97.5))
    marks = (0.05, 0.1, 0.2, BARELY, 0.3, 0.4, ENOUGH, 0.6, 0.7, 0.8, 0.9, 0.95)
    return {
        "auroc": round(auroc(yes, no), 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
        "roc": [{"score": mark, "kept": _share(yes, mark), "let_through": _share(no, mark)} for mark in marks],
        "reliability": _reliability(yes, no),
    }


def auroc(right: Scores, wrong: Scores) -> float:
    """How often a right one scores above a wrong one; a tie is half."""
    order = np.sort(wrong)
    below = np.searchsorted(order, right, "left") + np.searchsorted(order, right, "right")
    return float(below.mean() / (2 * len(order)))


def _share(scores: Scores, mark: float) -> float:
    return round(float((scores >= mark).mean()), 4)


def _reliability(right: Scores, wrong: Scores) -> list[dict[str, float]]:
    """Share answered by score, as if both kinds were as frequent."""
    edges = np.linspace(0, 1, BINS + 1)[1:-1]
    found = list[dict[str, float]]()
    yes, no = (np.bincount(np.digitize(part, edges), minlength=BINS) / len(part) for part in (right, wrong))
    for tenth in range(BINS):
        if yes[tenth] + no[tenth] > 0:
            share = float(yes[tenth] / (yes[tenth] + no[tenth]))
            found.append({"from": tenth / BINS, "answered": round(share, 3)})
    return found


def _show(found: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "", "against", "questions", "AUROC", "95 %", f"kept at {ENOUGH}", "let through", "reliability by tenth"
    )
    for name, figures in found["datasets"].items():
        for kind in ("near_misses", "unanswerable"):
            if kind not in figures:
                continue
            one = figures[kind]
            mark = next(point for point in one["roc"] if point["score"] == ENOUGH)
            interval = "-".join(f"{end:.3f}" for end in one["interval"])
            shares = " ".join(f"{each['answered']:.2f}" for each in one["reliability"])
            counted = f"{figures['answered']} / {one['questions']}"
            auc = f"{one['auroc']:.3f}"
            table.add_row(name, kind, counted, auc, interval, str(mark["kept"]), str(mark["let_through"]), shares)
    Console(width=160).print(table)
