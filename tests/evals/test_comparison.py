"""Verdicts: sure when the evidence is, unclear when it is not, and in the right direction."""

from __future__ import annotations

import numpy as np
import pytest

from aegis.errors import InvalidInput
from evals.comparison import Difference, as_dict, compare, interval, table
from evals.report import CaseResult, Report


def _report(metric: str, values: list[float], first: int = 0) -> Report:
    def result(number: int, value: float) -> CaseResult:
        return CaseResult(
            id=str(number),
            question="q",
            answer="",
            abstained=False,
            sources=(),
            model="",
            error=None,
            scores={metric: value},
        )

    return Report(cases=tuple(result(number, value) for number, value in enumerate(values, first)))


def _only(differences: list[Difference]) -> Difference:
    (difference,) = differences
    return difference


def test_a_clear_gain_is_better_and_the_same_back_is_worse() -> None:
    low, high = _report("expected", [0.0] * 10 + [1.0] * 10), _report("expected", [1.0] * 20)
    assert _only(compare(low, high)).verdict == "better"
    assert _only(compare(high, low)).verdict == "worse"


def test_for_latency_lower_is_better() -> None:
    slow, fast = _report("seconds", [2.0, 2.1, 2.2, 1.9, 2.0]), _report("seconds", [1.0, 1.1, 1.2, 0.9, 1.0])
    difference = _only(compare(slow, fast))
    assert difference.verdict == "better"
    assert difference.mean == pytest.approx(-1.0)


def test_no_change_mixed_changes_and_few_cases_are_unclear() -> None:
    same = _report("expected", [1.0] * 20)
    assert _only(compare(same, same)).verdict == "unclear"
    mixed = _report("expected", [1.0, 0.0] * 10)
    turned = _report("expected", [0.0, 1.0] * 10)
    assert _only(compare(mixed, turned)).verdict == "unclear"
    assert _only(compare(_report("expected", [0.0] * 4), _report("expected", [1.0] * 4))).verdict == "unclear"


def test_only_shared_cases_count() -> None:
    old, new = _report("expected", [0.0] * 10), _report("expected", [1.0] * 10, first=5)
    difference = _only(compare(old, new))
    assert (difference.count, difference.old, difference.new) == (5, 0.0, 1.0)
    with pytest.raises(InvalidInput, match="share no case"):
        compare(old, _report("expected", [1.0], first=50))
    with pytest.raises(InvalidInput):
        compare(old, _report("similarity", [1.0] * 10))


def test_the_interval_covers_the_true_mean_about_95_times_in_100() -> None:
    random = np.random.default_rng(7)
    covered = 0
    for _ in range(200):
        low, high = interval(random.normal(0.3, 1.0, 40).tolist())
        covered += low <= 0.3 <= high
    assert 180 <= covered <= 199  # a percentile bootstrap of 40 values is a little short of 95 %


def test_it_is_shown_and_given_as_data() -> None:
    differences = compare(_report("expected", [0.0] * 9), _report("expected", [1.0] * 9))
    assert table(differences).row_count == 1
    assert as_dict(differences)["expected"]["verdict"] == "better"
