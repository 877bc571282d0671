"""Judging evidence: what documents answer goes on, what they do not is rewritten or abstained from."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from agents.ground import BARELY, ENOUGH, Ground, Meanings, judge, next_step
from agents.state import State
from inference import Passage
from inference.words import content_words
from tests.agents.passages import Documents, Run, static_meanings
from tests.datasets import dataset, read_jsonl

DOCUMENTS = Documents(
    {
        "Qdrant": "Qdrant is a vector search engine written in Rust. Points carry vectors and a payload. "
        "Filtered fields need a payload index, otherwise a search becomes slow.",
        "Backups": "A backup runs every 6 hours. Backups are kept for 30 days in the folder named by AEGIS_BACKUP_DIR. "
        "To restore one, stop the server and run aegis restore.",
        "People": "Dr. Ada Byron leads the release team since March 2024. The team is in Lisbon.",
    }
)


@pytest.fixture(scope="module")
def meanings() -> Meanings:
    return static_meanings()


@pytest.mark.parametrize(
    "question",
    [
        "What is Qdrant?",
        "How often does a backup run?",
        "Who leads the release team?",
        "How long are backups kept?",
        "Why do filtered fields need a payload index?",
    ],
)
async def test_questions_the_documents_answer(question: str, meanings: Meanings) -> None:
    changed = await Ground(DOCUMENTS, meanings)(DOCUMENTS.state(question), Run().runtime)
    assert changed["judged"] > ENOUGH
    assert changed["enough"]


@pytest.mark.parametrize(
    "question",
    [
        "What is the capital of France?",
        "Who won the 2018 World Cup?",
        "How do I bake sourdough bread?",
        "How tall is Mount Everest?",
        "Who wrote Hamlet?",
        "What's the weather tomorrow?",
        "",
        "???",
    ],
)
async def test_questions_about_something_else(question: str, meanings: Meanings) -> None:
    state = DOCUMENTS.state(question, attempts=1)
    changed = await Ground(DOCUMENTS, meanings, rewrites=1)(state, Run().runtime)
    assert changed["judged"] < BARELY
    assert not changed["enough"]


async def test_what_another_scope_has_is_no_evidence(meanings: Meanings) -> None:
    run = Run(collections=("elsewhere",))
    changed = await Ground(DOCUMENTS, meanings)(DOCUMENTS.state("What is Qdrant?"), run.runtime)
    assert changed == {"enough": False, "judged": 0.0}


def judged(**rest: Any) -> State:
    return DOCUMENTS.state("What is Qdrant?", **rest)


def test_where_the_run_goes() -> None:
    assert next_step(judged(enough=True), 1) == "generate"
    assert next_step(judged(enough=False, attempts=0), 1) == "rewrite"
    assert next_step(judged(enough=False, attempts=1), 1) == "abstain"
    assert next_step(judged(), 0) == "abstain"


async def test_tells_own_from_foreign_questions_of_public_sets(meanings: Meanings) -> None:
    """2wiki_101 and anthropic_docs: each set's questions against its own passages and the other's. AUROC at least .95
    (.98 over five sets when the weights were chosen)."""
    chooser = random.Random(3)
    sets = {name: _Corpus(name) for name in ("2wiki_101", "anthropic_docs")}
    own: list[float] = []
    foreign: list[float] = []
    for name, corpus in sets.items():
        other = next(sets[key] for key in sets if key != name)
        for question in chooser.sample(corpus.questions, 40):
            own.append(await judge(question, corpus.search(question), meanings))
            foreign.append(await judge(question, other.search(question), meanings))
    wins = sum((a > b) + 0.5 * (a == b) for a in own for b in foreign) / (len(own) * len(foreign))
    print(f"AUROC {wins:.3f}")  # noqa: T201 - a figure to read
    assert wins >= 0.95
    assert np.mean(np.array(own) >= ENOUGH) >= 0.9
    assert np.mean(np.array(foreign) < BARELY) >= 0.85


class _Corpus:
    """A set searched by plain word overlap: enough to find near passages, and no part of what is tested."""

    def __init__(self, name: str) -> None:
        folder = dataset(name)
        entries = list(read_jsonl(folder / "corpus.jsonl"))
        self._texts = [(entry.get("title") or "", entry["text"][:1600]) for entry in entries]
        self._words = [frozenset(content_words(f"{title} {text}")) for title, text in self._texts]
        self.questions = [entry["text"] for entry in read_jsonl(folder / "queries.jsonl")]

    def search(self, question: str) -> Sequence[Passage]:
        wanted = set(content_words(question))
        weights = {word: 1 / (1 + sum(word in words for words in self._words)) for word in wanted}
        scores = [sum(weights[word] for word in wanted & words) for words in self._words]
        best = sorted(range(len(scores)), key=lambda i: -scores[i])[:8]
        return [Passage(n, str(i), *self._texts[i], 0, scores[i]) for n, i in enumerate(best, start=1)]
