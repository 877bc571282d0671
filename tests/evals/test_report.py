"""Reports: means, thresholds, round trip through JSON, and what is shown."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from aegis.errors import InvalidInput
from evals.report import CaseResult, Report, exit_code, failures, missed, read_report, table, threshold


def result(identifier: str, error: str | None = None, abstained: bool = False, **scores: float) -> CaseResult:
    return CaseResult(
        id=identifier,
        question="[bold]Why?[/bold]",
        answer="x",
        abstained=abstained,
        sources=("a.md",),
        model="extractive",
        error=error,
        scores=scores,
    )


def _shown(shown: Table) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(shown)
    return console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]  # the StringIO above


REPORT = Report(
    cases=tuple(result(str(n), answered=float(n > 0), expected=float(n > 1), seconds=float(n)) for n in range(10))
)


def test_summary_has_means_counts_and_percentiles() -> None:
    seconds = REPORT.summary()["seconds"]
    assert (seconds.mean, seconds.count, seconds.p50, seconds.p95) == (4.5, 10, 4, 9)
    assert list(REPORT.summary()) == ["answered", "expected", "seconds"]


def test_thresholds_decide_the_exit_code() -> None:
    assert exit_code(REPORT, [threshold("answered>=0.9"), threshold(" seconds <= 4.5 ")]) == 0
    assert exit_code(REPORT, [threshold("answered>=0.9"), threshold("expected>=0.81")]) == 1
    assert exit_code(REPORT, []) == 0
    assert [str(each) for each in missed(REPORT, [threshold("expected>=0.9")])] == ["expected>=0.9"]


def test_a_metric_that_measured_nothing_misses_its_threshold() -> None:
    assert exit_code(REPORT, [threshold("similarity>=0")]) == 1


@pytest.mark.parametrize("text", ["answered", "answered=1", "wrong>=1", "answered>=high", "answered>=1.2.3", ""])
def test_what_is_no_threshold_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        threshold(text)


def test_a_report_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(REPORT.as_dict()))
    assert read_report(path) == REPORT


@pytest.mark.parametrize("text", ["", "[]", '{"cases": [{"id": 1}]}', '{"summary": {}}'])
def test_what_is_no_report_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(InvalidInput, match="not the report"):
        read_report(path)
    with pytest.raises(InvalidInput):
        read_report(tmp_path / "none.json")


def test_tables_show_numbers_and_treat_questions_as_text() -> None:
    assert "0.900" in _shown(table(REPORT))
    wrong = Report(
        cases=(
            result("a", error="timeout", answered=0),
            result("b", abstained=True, answered=0, expected=0),
            result("c", answered=1, expected=0, citations=0.5),
            result("d", answered=0),
            result("e", answered=1, expected=1, citations=1),
        )
    )
    shown = failures(wrong)
    assert shown is not None
    text = _shown(shown)
    assert "4 of 5" in text
    assert "[bold]Why?[/bold]" in text
    for reason in ("timeout", "abstained", "expected words missing", "citations do not hold", "nothing answers it"):
        assert reason in text
    assert failures(Report(cases=(result("e", answered=1),))) is None
