"""Answers without a model: do the first two sentences that are quoted hold the gold answer?

Encyclopedia articles with facts that people marked (`redocred_dev`): each fact about an article's subject that has one
value there becomes a question ("When was ... born?"). All articles are cut, indexed and searched as ingestion and chat
do it; the writer quotes from the best eight passages. A question counts when some quoted sentence holds the value by
one of its names. Also printed: how many have it among the eight passages at all, which no writer can exceed.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aegis.settings import RetrievalSettings
from agents.evidence import PASSAGES
from evals.bench.datasets import dataset_folder, lines
from evals.bench.shelf import SCOPE, Book, Shelf, open_shelf
from inference import Passage
from inference.extractive import Closer, choose, compose, rank
from inference.questions import names
from retrieval.embedding import open_embedder
from retrieval.embedding.named import embedder_settings
from retrieval.interaction import MaxSim
from retrieval.loaders import LoadedDocument
from retrieval.search import SearchRequest
from retrieval.splitting import split

DATASET = "redocred_dev"
WANTED = 0.86
SENTENCES = 2
ASKED = {  # by Wikidata's property
    "P19": "Where was {} born?",
    "P20": "Where did {} die?",
    "P22": "Who was the father of {}?",
    "P26": "Who was {} married to?",
    "P36": "What is the capital of {}?",
    "P50": "Who wrote {}?",
    "P57": "Who directed {}?",
    "P69": "Where did {} study?",
    "P112": "Who founded {}?",
    "P175": "Who performed {}?",
    "P178": "Who developed {}?",
    "P264": "Which record label released {}?",
    "P449": "On which network was {} broadcast?",
    "P569": "When was {} born?",
    "P570": "When did {} die?",
    "P571": "When was {} founded?",
    "P577": "When was {} released?",
}
# What is known of one kind of subject together: where one is told, another may well be missing.
BESIDE = (
    ("P19", "P20", "P22", "P26", "P69", "P569", "P570"),
    ("P175", "P264", "P577"),
    ("P57", "P577"),
    ("P112", "P571"),
)
UNASKED = 2  # of an article
_SPACED = re.compile(r" (?=[,.;:!?)’]|'s\b|n't\b)|(?<=\() ")
_BRACKETS = re.compile(r"\s*\([^)]*\)$")


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    relation: str
    answers: frozenset[str]


def bench(*, quiet: bool = False, embedder: str = "wordllama") -> dict[str, Any]:
    """Raises NotFound without the data set."""
    rows = list(lines(dataset_folder(DATASET) / "items.jsonl"))
    found = asyncio.run(_measure(rows, embedder))
    if not quiet:
        _show(found)
    return found


async def _measure(rows: Sequence[Mapping[str, Any]], embedder: str) -> dict[str, Any]:
    questions = [question for row in rows for question in asked_of(row)]
    async with open_embedder(embedder_settings(embedder)) as opened:
        with tempfile.TemporaryDirectory() as folder:
            async with open_shelf(Path(folder), opened) as shelf:
                await shelf.put([book(row) for row in rows])
                closer = MaxSim(shelf.static.word_vectors).scores
                right = [await _holds(shelf, closer, question) for question in questions]
        name = opened.name
    return {"embedder": name, "articles": len(rows), **_figures(right), "relations": _by_relation(questions, right)}


def asked_of(row: Mapping[str, Any]) -> Iterator[Question]:
    """Of the facts about the article's subject, those with a single value that a question is known for."""
    title, known = str(row["title"]), _known(row)
    for relation, tails in _values(row, known).items():
        if len(tails) == 1:
            yield Question(ASKED[relation].format(title), relation, frozenset(known[tails.pop()]))


def unasked_of(row: Mapping[str, Any]) -> Iterator[Question]:
    """Questions for what the article does not tell of its subject, though it tells what goes with it; no answers."""
    told = _values(row, _known(row)).keys()
    beside = next((group for group in BESIDE if told & set(group)), ())
    for relation in [each for each in beside if each not in told][:UNASKED]:
        yield Question(ASKED[relation].format(row["title"]), relation, frozenset())


def _known(row: Mapping[str, Any]) -> dict[int, set[str]]:
    return {each["id"]: {_plain(name) for name in (each["name"], *each["aliases"])} for each in row["entities"]}


def _values(row: Mapping[str, Any], known: Mapping[int, set[str]]) -> dict[str, set[int]]:
    """By relation, the values of the article's subject."""
    title, values = _plain(_BRACKETS.sub("", str(row["title"]))), dict[str, set[int]]()
    for head, relation, tail, *_ in row["triples"]:
        if relation in ASKED and title in known[head]:
            values.setdefault(relation, set()).add(tail)
    return values


async def _holds(shelf: Shelf, closer: Closer, question: Question) -> tuple[bool, bool]:
    """Whether the answer, and whether any passage it was written from, holds a name of the value."""
    hits = await shelf.searcher().search(SCOPE, SearchRequest(question.text, top_k=PASSAGES))
    passages = [
        Passage(n, hit.chunk.id, hit.chunk.title, hit.chunk.text, hit.chunk.span.start, hit.score, hit.chunk.heading)
        for n, hit in enumerate(hits, 1)
    ]
    ranked = await rank(question.text, passages, shelf.static.embed, closer)
    answer = compose(choose(ranked, SENTENCES, names(question.text)))
    return names_one(answer, question), any(names_one(passage.text, question) for passage in passages)


def names_one(text: str, question: Question) -> bool:
    plain = f" {_plain(text)} "
    return any(f" {name} " in plain for name in question.answers)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def book(row: Mapping[str, Any]) -> Book:
    text = _SPACED.sub("", str(row["text"]))  # the set puts a space around every mark
    document = LoadedDocument(text=text, title=str(row["title"]), media_type="text/plain")
    return Book(str(row["id"]), document.title, text, split(document, RetrievalSettings().chunk_tokens))


def _figures(right: Sequence[tuple[bool, bool]]) -> dict[str, Any]:
    count = max(1, len(right))
    return {
        "questions": len(right),
        "first_two": round(sum(answer for answer, _ in right) / count, 4),
        "passages": round(sum(among for _, among in right) / count, 4),
    }


def _by_relation(questions: Sequence[Question], right: Sequence[tuple[bool, bool]]) -> dict[str, Any]:
    groups = dict[str, list[tuple[bool, bool]]]()
    for question, one in zip(questions, right, strict=True):
        groups.setdefault(question.relation, []).append(one)
    return {ASKED[relation].format("..."): _figures(ones) for relation, ones in sorted(groups.items())}


def _show(found: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "questions", "first two sentences", "among the passages", title=f"{DATASET}, {found['embedder']}")
    for name, ones in (("all", found), *found["relations"].items()):
        table.add_row(name, str(ones["questions"]), str(ones["first_two"]), str(ones["passages"]))
    console = Console(width=100)
    console.print(table)
    console.print(f"Wanted {WANTED}: x{found['first_two'] / WANTED:.3f}.")
