"""The evidence judgement as a curve: does its score tell questions that the passages answer from those they do not?

Pairs of a question and the passages that the search finds for it, from any ranking set:

answered      gold is among the first five
near_misses   the same question with all its gold taken away: what is left shares subject and words
unanswerable  questions that the set marks so: no gold, an empty `answer`, or `meta` {"answerable": false} or
              {"is_impossible": true}
foreign       questions of the other sets, whose gold's titles are not in this one
adversarial   worded so that a passage seems to answer: our own about passages of musique_train100 (`adversarial.jsonl`,
              against our own that are answered), and questions for what an article of redocred_dev does not tell

Reliability: share answered by score in tenths. Intervals are bootstraps over questions. `fit`: the regression fitted to
all of these, and each kind's AUROC by fits that did not see the document ("not seen").
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.condense import standalone
from agents.ground import BARELY, ENOUGH, JUDGED, Meanings, judge, measure
from evals.bench.calibration import crossed, fitted
from evals.bench.datasets import RankingSet, dataset_folder, datasets_folder, lines, ranking_sets, turns_before
from evals.bench.extractive import DATASET as ARTICLES
from evals.bench.extractive import asked_of, book, names_one, unasked_of
from evals.bench.shelf import SCOPE, Shelf, open_shelf, whole
from inference import Passage
from retrieval.embedding import Embedder, open_embedder
from retrieval.embedding.named import embedder_settings
from retrieval.search import Hit, SearchRequest

DEPTH = 20
MOST = 200  # questions of a set, and of those without an answer
STRANGERS = 40  # questions of each other set
OURS, OURS_ABOUT = Path(__file__).with_name("adversarial.jsonl"), "musique_train100"
DRAWS = 500
SEED = 0
BINS = 10
ANSWERED, HARD, FOREIGN = 0.6, 0.3, 0.1  # what the kinds count in the fit, of each set
HARD_KINDS = ("near_misses", "unanswerable", "adversarial")

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pair:
    """`document`: what may not be on both sides of a fit."""

    kind: str
    document: str
    score: float
    features: tuple[float, ...]


def bench(*, quiet: bool = False, dataset: str = "all", embedder: str = "wordllama") -> dict[str, Any]:
    """Raises NotFound without data sets."""
    chosen = [] if dataset == ARTICLES else list(ranking_sets(dataset))
    articles = dataset == ARTICLES or (dataset == "all" and (datasets_folder() / ARTICLES).is_dir())
    found = asyncio.run(_measure(chosen, articles, embedder))
    if not quiet:
        _show(found)
    return found


async def _measure(chosen: Sequence[RankingSet], articles: bool, embedder: str) -> dict[str, Any]:
    pairs = dict[str, list[Pair]]()
    async with open_embedder(embedder_settings(embedder)) as opened:
        for each in chosen:
            pairs[each.name] = [pair async for pair in _pairs_of_set(each, chosen, opened)]
        if articles:
            pairs[ARTICLES] = [pair async for pair in _pairs_of_articles(opened)]
        name = opened.name
    return {
        "embedder": name,
        "datasets": {each: _figures(found) for each, found in pairs.items()},
        "fit": _fit({each: found for each, found in pairs.items() if len({pair.kind for pair in found}) > 1}),
    }


async def _pairs_of_set(given: RankingSet, all_sets: Sequence[RankingSet], opened: Embedder) -> AsyncGenerator[Pair]:
    with tempfile.TemporaryDirectory() as folder:
        async with open_shelf(Path(folder), opened) as shelf:
            names = {f"passage-{number}": found for number, found in enumerate(given.passages)}
            await shelf.put([whole(name, found.title, found.text) for name, found in names.items()])
            ids = {name: found.id for name, found in names.items()}
            for identifier, question in _asked(given):
                async for pair in _own(shelf, question, given.qrels.get(identifier, {}), ids):
                    yield pair
            for question in _unanswered(given):
                yield await _pair(shelf, "unanswerable", question, question, await _found(shelf, question))
            for question in _strangers(given, all_sets):
                yield await _pair(shelf, "foreign", question, question, await _found(shelf, question))
            for row in lines(OURS) if given.name == OURS_ABOUT else ():
                found, question = await _found(shelf, row["question"]), row["question"]
                there = any(ids[hit.chunk.document_id] == row["passage"] for hit in found[:JUDGED])
                if there or not row["answerable"]:
                    kind = "answered_ours" if row["answerable"] else "adversarial"
                    yield await _pair(shelf, kind, row["passage"], question, found)


async def _own(shelf: Shelf, question: str, gold: Mapping[str, int], ids: Mapping[str, str]) -> AsyncGenerator[Pair]:
    found = await _found(shelf, question)
    right = [hit for hit in found if ids[hit.chunk.document_id] in gold]
    if any(hit in right for hit in found[:JUDGED]):
        yield await _pair(shelf, "answered", min(gold), question, found)
    yield await _pair(shelf, "near_misses", min(gold), question, [hit for hit in found if hit not in right])


async def _pairs_of_articles(opened: Embedder) -> AsyncGenerator[Pair]:
    rows = list(lines(dataset_folder(ARTICLES) / "items.jsonl"))
    with tempfile.TemporaryDirectory() as folder:
        async with open_shelf(Path(folder), opened) as shelf:
            await shelf.put([book(row) for row in rows])
            for row in rows:
                for question in asked_of(row):
                    found = await _found(shelf, question.text)
                    if any(names_one(hit.chunk.text, question) for hit in found[:JUDGED]):
                        yield await _pair(shelf, "answered", str(row["id"]), question.text, found)
                for question in unasked_of(row):
                    found = await _found(shelf, question.text)
                    yield await _pair(shelf, "adversarial", str(row["id"]), question.text, found)


async def _found(shelf: Shelf, question: str) -> list[Hit]:
    return await shelf.searcher().search(SCOPE, SearchRequest(question, top_k=DEPTH))


async def _pair(shelf: Shelf, kind: str, document: str, question: str, hits: Sequence[Hit]) -> Pair:
    passages = [
        Passage(
            marker, hit.chunk.id, hit.chunk.title, hit.chunk.text, hit.chunk.span.start, hit.score, hit.chunk.heading
        )
        for marker, hit in enumerate(hits[:JUDGED], 1)
    ]
    meanings = Meanings(shelf.static.embed, shelf.closer.nearest)
    features = await measure(question, passages, meanings)
    return Pair(
        kind, document, await judge(question, passages, meanings), features.values() if features is not None else ()
    )


def _asked(given: RankingSet) -> Iterator[tuple[str, str]]:
    """Questions as they stand alone, evenly drawn from those with an answer."""
    known = [row for row in _rows(given) if str(row["id"]) in given.qrels and not marked(row)]
    for row in known[:: max(1, len(known) // MOST)][:MOST]:
        yield str(row["id"]), standalone(row["text"], turns_before(row))


def _unanswered(given: RankingSet) -> Iterator[str]:
    without = [row for row in _rows(given) if str(row["id"]) not in given.qrels or marked(row)]
    for row in without[:: max(1, len(without) // MOST)][:MOST]:
        yield standalone(row["text"], turns_before(row))


def _rows(given: RankingSet) -> list[dict[str, Any]]:
    return [row for row in lines(dataset_folder(given.name) / "queries.jsonl") if row["text"].strip()]


def marked(row: Mapping[str, Any]) -> bool:
    """Whether the set says of a question that it has no answer, whichever passage it was written about."""
    meta = row.get("meta") or {}
    return row.get("answer") == "" or meta.get("answerable") is False or meta.get("is_impossible") is True


def _strangers(given: RankingSet, all_sets: Sequence[RankingSet]) -> Iterator[str]:
    here = {passage.title for passage in given.passages if passage.title}
    for other in all_sets:
        if other.name == given.name:
            continue
        titles = {passage.id: passage.title for passage in other.passages}
        apart = [
            text for id, text in other.queries.items() if here.isdisjoint(titles[gold] for gold in other.qrels[id])
        ]
        yield from apart[:: max(1, len(apart) // STRANGERS)][:STRANGERS]


def _figures(pairs: Sequence[Pair]) -> dict[str, Any]:
    scores = defaultdict[str, list[float]](list)
    for pair in pairs:
        scores[pair.kind].append(pair.score)
    found: dict[str, Any] = {"answered": len(scores["answered"])}
    for kind in (*HARD_KINDS, "foreign"):
        right = scores.get("answered_ours" if kind == "adversarial" else "") or scores["answered"]
        if scores[kind] and right:
            found[kind] = {"answered": len(right), "questions": len(scores[kind]), **separation(right, scores[kind])}
    return found


def _fit(pairs: Mapping[str, Sequence[Pair]]) -> dict[str, Any]:
    """Each set counts alike, and in it what answers .6."""
    rows = [(name, pair) for name, found in pairs.items() for pair in found if pair.features]
    if not rows:
        return {}
    counts = {name: _counting(found) for name, found in pairs.items()}
    features = np.array([pair.features for _, pair in rows])
    right = np.array([float(pair.kind.startswith("answered")) for _, pair in rows])
    weights = np.array([counts[name][pair.kind] for name, pair in rows])
    scores = crossed(features, right, weights, [f"{name}/{pair.document}" for name, pair in rows])
    whole_fit = fitted(features, right, weights)
    crossed_pairs = defaultdict[str, list[Pair]](list)
    for (name, pair), score in zip(rows, scores, strict=True):
        crossed_pairs[name].append(Pair(pair.kind, pair.document, float(score), ()))
    return {
        "weights": whole_fit.weights,
        "bias": whole_fit.bias,
        "auroc": {
            name: {kind: one["auroc"] for kind, one in _figures(found).items() if isinstance(one, dict)}
            for name, found in crossed_pairs.items()
        },
    }


def _counting(pairs: Sequence[Pair]) -> dict[str, float]:
    """What one pair of each kind counts."""
    many = defaultdict[str, int](int)
    for pair in pairs:
        many[pair.kind] += 1
    hard = [kind for kind in HARD_KINDS if many[kind]]
    far = FOREIGN if many["foreign"] else 0.0
    right = [kind for kind in ("answered", "answered_ours") if many[kind]]
    shares = {kind: ANSWERED / len(right) for kind in right} | {"foreign": far}
    shares |= {kind: (HARD + FOREIGN - far) / len(hard) for kind in hard}
    return {kind: share / many[kind] for kind, share in shares.items() if many[kind]}


def separation(right: Sequence[float], wrong: Sequence[float]) -> dict[str, Any]:
    """How well scores tell them apart: AUROC with its 95 % interval, the curve, and the shares that go on."""
    yes, no = np.array(right), np.array(wrong)
    random = np.random.default_rng(SEED)
    drawn = [auroc(random.choice(yes, len(yes)), random.choice(no, len(no))) for _ in range(DRAWS)]
    low, high = np.percentile(drawn, (2.5, 97.5))
    marks = (0.05, 0.1, 0.2, BARELY, 0.3, ENOUGH, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
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

    columns = ("", "against", "questions", "AUROC", "95 %", f"kept at {ENOUGH}", "let through", f"kept at {BARELY}")
    table = Table(*columns, "let through", "not seen", "reliability by tenth")
    for name, figures in found["datasets"].items():
        for kind in (*HARD_KINDS, "foreign"):
            if kind in figures:
                unseen = found["fit"]["auroc"].get(name, {}).get(kind, "")
                table.add_row(name, kind, *_cells(figures[kind]), str(unseen), _shares(figures[kind]))
    console = Console(width=180)
    console.print(table)
    if found["fit"]:
        console.print(f"Fitted to these: weights {json.dumps(found['fit']['weights'])}, bias {found['fit']['bias']}.")


def _cells(one: Mapping[str, Any]) -> list[str]:
    marks = {point["score"]: point for point in one["roc"]}
    interval = "-".join(f"{end:.3f}" for end in one["interval"])
    kept = [str(marks[mark][what]) for mark in (ENOUGH, BARELY) for what in ("kept", "let_through")]
    return [f"{one['answered']} / {one['questions']}", f"{one['auroc']:.3f}", interval, *kept]


def _shares(one: Mapping[str, Any]) -> str:
    return " ".join(f"{each['answered']:.2f}" for each in one["reliability"])
