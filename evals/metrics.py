"""What is measured of one answer. An evaluator is a dataclass with one method; scores lie in [0, 1] but for latency."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from evals.assistant import Answer, Verdict
from evals.cases import Case

_MARKER = re.compile(r"\[\d+(?:\s*,\s*\d+)*\]")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Observation:
    """One case, asked once. `answer` is None when asking failed; then `error` is its code.

    `holds` has one entry per citation: does the document say there what the citation quotes?
    """

    case: Case
    answer: Answer | None
    seconds: float
    holds: tuple[bool, ...] = ()
    error: str | None = None
    verdict: Verdict | None = None  # of a language model, where one was asked

    @property
    def answered(self) -> bool:
        return self.answer is not None and not self.answer.abstained


class Evaluator(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def higher_is_better(self) -> bool: ...

    def score(self, seen: Observation) -> float | None:
        """None when this says nothing about the case."""
        ...


@dataclass(frozen=True, slots=True)
class Answered:
    """1 when there is an answer where one is expected, and an abstention where none is."""

    name: str = "answered"
    higher_is_better: bool = True

    def score(self, seen: Observation) -> float:
        if seen.answer is None:
            return 0.0
        return float(seen.answer.abstained == seen.case.abstain)


@dataclass(frozen=True, slots=True)
class Expected:
    """1 when every group of expected words is met; markers such as [2] are no part of the text."""

    name: str = "expected"
    higher_is_better: bool = True

    def score(self, seen: Observation) -> float | None:
        if not seen.case.expect or seen.case.abstain:
            return None
        return float(seen.answered and meets(_text(seen), seen.case.expect))


@dataclass(frozen=True, slots=True)
class Citations:
    """Share of citations whose quote stands in the document at the cited span; 0 for an answer that owes one."""

    name: str = "citations"
    higher_is_better: bool = True

    def score(self, seen: Observation) -> float | None:
        if seen.holds:
            return sum(seen.holds) / len(seen.holds)
        return 0.0 if seen.answered and _owes_citation(seen.case) else None


@dataclass(frozen=True, slots=True)
class Sources:
    """Against a saved answer: Jaccard index of the cited documents. With a named source: 1 when it is cited."""

    name: str = "sources"
    higher_is_better: bool = True

    def score(self, seen: Observation) -> float | None:
        cited = seen.answer.citations if seen.answer else ()
        if seen.case.source:
            return float(any(each.source.endswith(seen.case.source) for each in cited))
        saved = seen.case.saved
        if saved is None or not saved.documents:
            return None
        return jaccard(saved.documents, {each.document_id for each in cited})


@dataclass(frozen=True, slots=True)
class Similarity:
    """Token F1 between the saved answer and this one."""

    name: str = "similarity"
    higher_is_better: bool = True

    def score(self, seen: Observation) -> float | None:
        saved = seen.case.saved
        if saved is None or not saved.answer or seen.case.abstain:
            return None
        return token_f1(saved.answer, _text(seen))


@dataclass(frozen=True, slots=True)
class Judged:
    """The grade that a language model gave; what it was not asked about, or gave no grade, says nothing."""

    name: str = "judged"
    higher_is_better: bool = True

    def score(self, seen: Observation) -> float | None:
        return seen.verdict.grade if seen.verdict else None


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds until the answer was complete; failures have none."""

    name: str = "seconds"
    higher_is_better: bool = False

    def score(self, seen: Observation) -> float | None:
        return None if seen.answer is None else seen.seconds


EVALUATORS: tuple[Evaluator, ...] = (Answered(), Expected(), Citations(), Sources(), Similarity(), Judged(), Latency())
DIRECTIONS: Mapping[str, bool] = {each.name: each.higher_is_better for each in EVALUATORS}


def meets(text: str, expect: Iterable[Sequence[str]]) -> bool:
    return all(any(says(text, words) for words in group) for group in expect)


def says(text: str, words: str) -> bool:
    """Whether the words stand in the text as whole words, whatever their case and the space between them."""
    pattern = r"\s+".join(re.escape(word) for word in words.split())
    return re.search(rf"(?<!\w){pattern}(?!\w)", _MARKER.sub(" ", text), re.IGNORECASE) is not None


def token_f1(one: str, other: str) -> float:
    """Harmonic mean of precision and recall over words, as in SQuAD; 1 when both are empty."""
    left, right = _words(one), _words(other)
    if not left or not right:
        return float(left == right)
    return 2 * (left & right).total() / (left.total() + right.total())


def jaccard(one: Iterable[str], other: Iterable[str]) -> float:
    left, right = set(one), set(other)
    return len(left & right) / len(left | right) if left | right else 1.0


def _owes_citation(case: Case) -> bool:
    return not case.abstain and bool(case.expect or case.source or (case.saved and case.saved.documents))


def _text(seen: Observation) -> str:
    return seen.answer.text if seen.answer else ""


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of one case by evaluator; what says nothing about it is left out."""

    case_id: str
    values: Mapping[str, float] = field(default_factory=dict[str, float])


def score(seen: Observation, evaluators: Sequence[Evaluator] = EVALUATORS) -> Scores:
    values = {each.name: each.score(seen) for each in evaluators}
    return Scores(seen.case.id, {name: value for name, value in values.items() if value is not None})


def _words(text: str) -> Counter[str]:
    return Counter(_WORD.findall(_MARKER.sub(" ", text).casefold()))
