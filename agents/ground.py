"""Do these passages answer the question? A score from what their best sentences share with it; no model.

A logistic regression over four features, fitted on the sets that docs/retrieval.md names, where `aegis bench evidence`
is told, too. `demands.py` refuses some questions for what an answer cannot do without. `meaning` and `said` are of
WordLlama's vectors: others need another fit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from langgraph.runtime import Runtime

from agents.alignment import Nearest, aligned, question_words
from agents.demands import Read, lacking
from agents.evidence import Chunks, asked_of, gather
from agents.relations import unspoken
from agents.state import Context, State
from inference import Passage
from inference.extractive import READ_CHARS, Candidate, Embed, candidates
from inference.questions import asked
from inference.words import coverage, rarity

JUDGED = 5  # passages looked at
COMPARED = 12  # sentences whose meaning is compared

ENOUGH = 0.4  # answer at once
BARELY = 0.23  # answer when no attempt is left; the highest at which none of the samples' own questions is refused
LACKING = 0.2  # at most, where what an answer cannot do without is missing: below both

WEIGHTS = (3.46, 3.53, 1.17, -0.72)
BIAS = -5.97

Step = Literal["generate", "rewrite", "abstain"]


@dataclass(frozen=True, slots=True)
class Features:
    meaning: float  # cosine of the nearest sentence, in [0, 1]
    said: float  # of the question, word by word, in one sentence with its title, in [0, 1]
    length: float  # of the question: log(1 + its content words); a long one is seldom said whole
    unspoken: float  # 1 where it asks for a relation that no sentence about its names speaks of

    def values(self) -> tuple[float, ...]:
        return (self.meaning, self.said, self.length, self.unspoken)


@dataclass(frozen=True, slots=True)
class Meanings:
    """What words and sentences mean, by static vectors."""

    embed: Embed
    nearest: Nearest


@dataclass(frozen=True)
class Ground:
    """Node: sets `enough` and `judged`."""

    chunks: Chunks
    meanings: Meanings = field(repr=False)
    rewrites: int = 1

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        evidence = await gather(self.chunks, runtime.context.scope, state)
        score = await judge(asked_of(state), [passage for passage, _ in evidence], self.meanings)
        needed = ENOUGH if state.get("attempts", 0) < self.rewrites else BARELY
        return {"enough": score >= needed, "judged": round(score, 3)}


def next_step(state: State, rewrites: int) -> Step:
    """Where the run goes from here."""
    if state.get("enough"):
        return "generate"
    return "rewrite" if state.get("attempts", 0) < rewrites else "abstain"


async def judge(question: str, passages: Sequence[Passage], meanings: Meanings) -> float:
    """How likely the passages answer the question, in [0, 1]."""
    features = await measure(question, passages, meanings)
    if features is None:
        return 0.0
    likely = 1 / (1 + math.exp(-BIAS - sum(w * v for w, v in zip(WEIGHTS, features.values(), strict=True))))
    read = [Read(c.text, c.words | c.before) for passage in passages[:JUDGED] for c in candidates(passage)]
    return min(likely, LACKING) if lacking(question, read) else likely


async def measure(question: str, passages: Sequence[Passage], meanings: Meanings) -> Features | None:
    """None where there is nothing to measure."""
    wanted = asked(question)
    found = [candidate for passage in passages[:JUDGED] for candidate in candidates(passage)]
    if not found or not wanted.words:
        return None
    idf = rarity(candidate.words for candidate in found)
    ranked = sorted(found, key=lambda c: -coverage(wanted.words, c.words | c.before, idf))[:COMPARED]
    return Features(
        meaning=await _nearest(question, ranked, meanings.embed),
        said=aligned(question, ranked, meanings.nearest, idf),
        length=math.log1p(len(wanted.words)),
        unspoken=float(unspoken(question, _about(question, found))),
    )


async def _nearest(question: str, head: Sequence[Candidate], embed: Embed) -> float:
    vectors = await embed([question[:READ_CHARS], *(f"{c.passage.title} {c.text}" for c in head)])
    return max(0.0, float((vectors[1:] @ vectors[0]).max()))


def _about(question: str, found: Sequence[Candidate]) -> list[str]:
    """The sentences that name something of what the question names, by themselves or in their title."""
    named = {stem for word in question_words(question) if word.named for stem in word.stems}
    return [c.text for c in found if not named or named & (c.words | c.titled)]
