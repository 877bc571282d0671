"""One evaluation from beginning to end: choose cases, ask, compare, judge; what `aegis eval run` prints and returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from aegis.errors import InvalidInput
from evals import comparison
from evals.assistant import ApiAssistant, Assistant, Judge
from evals.cases import OFF_TOPIC, SAMPLES, Case, read_cases
from evals.comparison import Difference
from evals.report import Report, Threshold, failures, missed, table
from evals.runs import Pace, Seen, run

SAVED = "saved"
SHIPPED = "samples"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`differences` is empty without an earlier run to compare with; `missed` holds the thresholds not met."""

    report: Report
    differences: Sequence[Difference] = ()
    missed: Sequence[Threshold] = field(default_factory=list[Threshold])

    @property
    def exit_code(self) -> int:
        return 1 if self.missed else 0

    def as_dict(self) -> dict[str, Any]:
        """For `--json`; a later run can be compared with it."""
        judged = {"comparison": comparison.as_dict(self.differences), "missed": [str(each) for each in self.missed]}
        return self.report.as_dict() | judged

    def show(self, console: Console) -> None:
        console.print(table(self.report))
        if self.differences:
            console.print(comparison.table(self.differences))
        if (wrong := failures(self.report)) is not None:
            console.print(wrong)
        for each in self.missed:
            console.print(f"Threshold missed: {each}", style="bold red")


async def choose_cases(source: str, assistant: ApiAssistant) -> list[Case]:
    """`samples`: the cases that come along; `saved`: the conversations of the store; else the path of a case file."""
    if source == SHIPPED:
        return [*read_cases(SAMPLES), *read_cases(OFF_TOPIC)]
    if source != SAVED:
        return read_cases(Path(source))
    cases = await assistant.saved()
    if not cases:
        raise InvalidInput("No conversation is saved yet. Ask something first, or run with `samples` or a case file.")
    return cases


async def evaluate(
    cases: Sequence[Case],
    assistant: Assistant,
    *,
    pace: Pace = Pace(),
    thresholds: Sequence[Threshold] = (),
    against: Report | None = None,
    seen: Seen | None = None,
    judge: Judge | None = None,
) -> Outcome:
    report = await run(cases, assistant, pace=pace, seen=seen, judge=judge)
    differences = comparison.compare(against, report) if against is not None else []
    return Outcome(report, differences, missed(report, thresholds))
