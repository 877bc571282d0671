"""Two runs of a benchmark beside each other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from aegis.errors import InvalidInput
from evals.bench import run
from evals.bench.comparison import baseline, ratio

CHANCE = np.random.default_rng(3)


def test_what_is_slower_by_a_tenth_is_told_from_noise() -> None:
    before = CHANCE.uniform(2, 20, 300)
    now = before * 1.1 * np.exp(CHANCE.normal(0, 0.2, 300))
    found = ratio(list(now), list(before))
    assert found["low"] <= 1.1 <= found["high"]
    assert found["low"] > 1.0
    assert found["questions"] == 300


def test_noise_is_no_difference() -> None:
    before = CHANCE.uniform(2, 20, 300)
    found = ratio(list(before * np.exp(CHANCE.normal(0, 0.3, 300))), list(before))
    assert found["low"] < 1.0 < found["high"]


def test_questions_without_an_answer_are_left_out() -> None:
    figures: list[float | None] = [None, *[2.0] * 30]
    assert ratio(figures, [1.0] * 31) == {"ratio": 2.0, "low": 2.0, "high": 2.0, "questions": 30}
    with pytest.raises(InvalidInput, match="needs 20"):
        ratio([1.0] * 5, [1.0] * 5)


def test_a_file_that_is_no_result_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"chunks": 3}))
    for file in (other, tmp_path / "missing.json"):
        with pytest.raises(InvalidInput, match="no result"):
            baseline(str(file))
        with pytest.raises(InvalidInput, match="no result"):
            run("http", quiet=True, compare=str(file))
