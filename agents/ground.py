"""Do these passages answer the question? A score from what their best sentences share with it; no model.

Weights are a logistic regression on 500 questions of five public sets (2wiki_101, musique_train100, anthropic_docs,
chunking_eval, mtragun_pool): each against the passages that hybrid search finds in its own corpus, and in two others.
With one set left out in turn, AUROC is .949 to .998. Near misses are much harder: with all gold passages taken away
it is .78, so a question near the documents' subject is more often answered than not; `demands.py` refuses some of
those for what they cannot do without. `meaning` is the cosine of
WordLlama's vectors: another embedder needs another fit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from langgraph.runtime import Runtime

from agents.demands import Read, lacking
from agents.evidence import Chunks, asked_of, gather
from agents.state import Context, State
from inference import Passage
from inference.extractive import READ_CHARS, Candidate, Embed, candidates
from inference.questions import Asked, asked, has_form
from inference.words import STOP, content_words, coverage, rarity, tokens

JUDGED = 5  # passages looked at
COMPARED = 12  # sentences whose meaning is compared

ENOUGH = 0.5  # answer at once
BARELY = 0.25  # answer when no attempt is left
LACKING = 0.2  # at most, where what an answer cannot do without is missing: below both

WEIGHTS = (2.31, 2.41, 0.70, 11.80, 1.81, 0.42)
BIAS = -8.37

_NAME = re.compile(r"\b(?:[A-ZÀ-Þ][\w-]*[a-zA-Z\d]|\d[\d.,]*)\b")

Step = Literal["generate", "rewrite", "abstain"]


@dataclass(frozen=True, slots=True)
class Features:
    """All in [0, 1]. Words are weighted by how rare they are among the sentences at hand."""

    sentence: float  # of the question's words in one sentence (with its title)
    passage: float  # in one passage
    together: float  # in all passages
    meaning: float  # cosine of the nearest sentence
    names: float  # names and numbers of the question in one passage; as `passage` where it has none
    form: float  # whether the best sentence has the form of an answer: a date, a number, a name

    def values(self) -> tuple[float, ...]:
        return (self.sentence, self.passage, self.together, self.meaning, self.names, self.form)


@dataclass(frozen=True)
class Ground:
    """Node: sets `enough` and `judged`."""

    chunks: Chunks
    embed: Embed = field(repr=False)
    rewrites: int = 1

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        evidence = await gather(self.chunks, runtime.context.scope, state)
        score = await judge(asked_of(state), [passage for passage, _ in evidence], self.embed)
        needed = ENOUGH if state.get("attempts", 0) < self.rewrites else BARELY
        return {"enough": score >= needed, "judged": round(score, 3)}


def next_step(state: State, rewrites: int) -> Step:
    """Where the run goes from here."""
    if state.get("enough"):
        return "generate"
    return "rewrite" if state.get("attempts", 0) < rewrites else "abstain"


async def judge(question: str, passages: Sequence[Passage], embed: Embed) -> float:
    """How likely the passages answer the question, in [0, 1]."""
    features = await measure(question, passages, embed)
    if features is None:
        return 0.0
    likely = 1 / (1 + math.exp(-BIAS - sum(w * v for w, v in zip(WEIGHTS, features.values(), strict=True))))
    read = [Read(c.text, c.words | c.before) for passage in passages[:JUDGED] for c in candidates(passage)]
    return min(likely, LACKING) if lacking(question, read) else likely


async def measure(question: str, passages: Sequence[Passage], embed: Embed) -> Features | None:
    """None where there is nothing to measure."""
    wanted = asked(question)
    found = [candidate for passage in passages[:JUDGED] for candidate in candidates(passage)]
    if not found or not wanted.words:
        return None
    idf = rarity(candidate.words for candidate in found)
    whole = [_words(passage.title, passage.heading, passage.text) for passage in passages[:JUDGED]]
    ranked = sorted(found, key=lambda c: -coverage(wanted.words, c.words | c.before, idf))
    in_passage = max(coverage(wanted.words, words, idf) for words in whole)
    return Features(
        sentence=coverage(wanted.words, ranked[0].words | ranked[0].before, idf),
        passage=in_passage,
        together=coverage(wanted.words, frozenset[str]().union(*whole), idf),
        meaning=await _nearest(question, ranked[:COMPARED], embed),
        names=_names_present(question, passages[:JUDGED], in_passage),
        form=_form(wanted, ranked[:3]),
    )


@lru_cache(maxsize=512)  # the next question reads some of them again
def _words(title: str, heading: str | None, text: str) -> frozenset[str]:
    return frozenset(content_words(f"{title} {heading or ''} {text}"))


async def _nearest(question: str, head: Sequence[Candidate], embed: Embed) -> float:
    vectors = await embed([question[:READ_CHARS], *(f"{c.passage.title} {c.text}" for c in head)])
    return max(0.0, float((vectors[1:] @ vectors[0]).max()))


def _names_present(question: str, passages: Sequence[Passage], otherwise: float) -> float:
    """Share of the question's names and numbers that one passage has. Its first word is capitalised anyway."""
    body = question.strip().partition(" ")[2]
    wanted = {token for name in _NAME.findall(body) for token in tokens(name) if token not in STOP}
    if not wanted:
        return otherwise
    return max(len(wanted & set(tokens(f"{p.title} {p.heading or ''} {p.text}"))) for p in passages) / len(wanted)


def _form(wanted: Asked, head: Sequence[Candidate]) -> float:
    return float(any(has_form(wanted, candidate.text) for candidate in head))
