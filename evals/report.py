"""The outcome of a run: scores per case and in the mean, as a table and as JSON; thresholds and the exit code."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.markup import escape
from rich.table import Table

from aegis.errors import InvalidInput
from evals.metrics import DIRECTIONS, Observation, Scores

MAX_REPORT_BYTES = 256_000_000
SHOWN_FAILURES = 20
_THRESHOLD = re.compile(r"^\s*([a-z_]+)\s*(>=|<=)\s*(-?[0-9.]+)\s*$")


@dataclass(frozen=True, slots=True)
class Summary:
    """Over the `count` cases that a metric says something about. `p50` and `p95` are nearest-rank percentiles."""

    mean: float
    count: int
    p50: float
    p95: float


class CaseResult(BaseModel):
    """One line of a report file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    question: str
    answer: str
    abstained: bool
    sources: tuple[str, ...]
    model: str
    error: str | None
    verdict: str = ""  # the judge's reason, and its name
    scores: Annotated[dict[str, float], Field(default_factory=dict)]


class Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    cases: tuple[CaseResult, ...]

    def values(self, metric: str) -> dict[str, float]:
        """Case id -> score, for the cases that have one."""
        return {case.id: case.scores[metric] for case in self.cases if metric in case.scores}

    def summary(self) -> dict[str, Summary]:
        names = dict.fromkeys(name for case in self.cases for name in case.scores)
        order = [*(name for name in DIRECTIONS if name in names), *(name for name in names if name not in DIRECTIONS)]
        return {name: _summary(list(self.values(name).values())) for name in order}

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints; `read_report` reads it back."""
        summary = {name: asdict(value) for name, value in self.summary().items()}
        return {"summary": summary, "cases": [case.model_dump(mode="json") for case in self.cases]}


@dataclass(frozen=True, slots=True)
class Threshold:
    metric: str
    at_least: bool
    value: float

    def met(self, summary: Mapping[str, Summary]) -> bool:
        """A metric that measured nothing is not met: an empty run must not pass for a good one."""
        found = summary.get(self.metric)
        if found is None:
            return False
        return found.mean >= self.value if self.at_least else found.mean <= self.value

    def __str__(self) -> str:
        return f"{self.metric}{'>=' if self.at_least else '<='}{self.value:g}"


def report_of(observations: Sequence[Observation], scores: Sequence[Scores]) -> Report:
    return Report(cases=tuple(_result(seen, scored) for seen, scored in zip(observations, scores, strict=True)))


def read_report(path: Path) -> Report:
    """An earlier run, saved with `--json`. Raises InvalidInput."""
    try:
        if path.stat().st_size > MAX_REPORT_BYTES:
            raise InvalidInput(f"{path} is larger than {MAX_REPORT_BYTES} bytes; is it the report of a run?")
        read: Any = json.loads(path.read_text("utf-8"))
        return Report(cases=read["cases"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise InvalidInput(f"{path} is not the report of a run; make one with `aegis eval run --json`.") from error


def threshold(text: str) -> Threshold:
    """From `expected>=0.9` or `seconds<=2`. Raises InvalidInput."""
    parts = _THRESHOLD.match(text)
    if parts is None or parts[1] not in DIRECTIONS:
        known = ", ".join(DIRECTIONS)
        raise InvalidInput(f"{text!r} is no threshold. Write metric>=number or metric<=number; metrics are {known}.")
    try:
        return Threshold(parts[1], parts[2] == ">=", float(parts[3]))
    except ValueError as error:
        raise InvalidInput(f"{parts[3]!r} in {text!r} is not a number.") from error


def missed(report: Report, thresholds: Sequence[Threshold]) -> list[Threshold]:
    summary = report.summary()
    return [each for each in thresholds if not each.met(summary)]


def exit_code(report: Report, thresholds: Sequence[Threshold]) -> int:
    """0 when all thresholds are met, otherwise 1."""
    return 1 if missed(report, thresholds) else 0


def table(report: Report) -> Table:
    shown = Table("metric", "mean", "p50", "p95", "cases", title=f"{len(report.cases)} cases")
    for name, found in report.summary().items():
        shown.add_row(name, f"{found.mean:.3f}", f"{found.p50:.3f}", f"{found.p95:.3f}", str(found.count))
    return shown


def failures(report: Report) -> Table | None:
    """The first cases that failed, were wrongly (un)answered, or missed expected words. None when there are none."""
    failed = [case for case in report.cases if _reasons(case)]
    if not failed:
        return None
    shown = Table("case", "question", "what is wrong", title=f"{len(failed)} of {len(report.cases)} cases to look at")
    for case in failed[:SHOWN_FAILURES]:
        shown.add_row(escape(case.id), escape(case.question[:200]), escape(", ".join(_reasons(case))))
    return shown


def _reasons(case: CaseResult) -> list[str]:
    if case.error:
        return [f"failed: {case.error}"]
    reasons: list[str] = []
    if case.scores.get("answered") == 0:
        reasons.append("abstained" if case.abstained else "answered, though nothing answers it")
    elif case.scores.get("expected") == 0:
        reasons.append("expected words missing")
    if case.scores.get("judged", 1) < 1:
        reasons.append(f"judged {case.scores['judged']:g}: {case.verdict}")
    if case.scores.get("citations", 1) < 1:
        reasons.append("citations do not hold")
    return reasons


def _result(seen: Observation, scored: Scores) -> CaseResult:
    answer = seen.answer
    return CaseResult(
        id=seen.case.id,
        question=seen.case.question,
        answer=answer.text if answer else "",
        abstained=answer.abstained if answer else False,
        sources=tuple(dict.fromkeys(cited.source for cited in answer.citations)) if answer else (),
        model=answer.model if answer else "",
        error=seen.error,
        verdict=f"{seen.verdict.says} ({seen.verdict.model})" if seen.verdict else "",
        scores=dict(scored.values),
    )


def _summary(values: list[float]) -> Summary:
    ordered = sorted(values)
    return Summary(fmean(ordered), len(ordered), _percentile(ordered, 50), _percentile(ordered, 95))


def _percentile(ordered: Sequence[float], percent: int) -> float:
    rank = -(-percent * len(ordered) // 100)
    return ordered[max(rank, 1) - 1]
