"""Better, worse or unclear: two runs over the same cases, compared case by case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from rich.table import Table

from aegis.errors import InvalidInput
from evals.metrics import DIRECTIONS
from evals.report import Report

Verdict = Literal["better", "worse", "unclear"]

RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 20260101  # fixed, so that the same two runs always get the same verdict
FEWEST = 5  # below this a bootstrap interval means nothing


@dataclass(frozen=True, slots=True)
class Difference:
    """`mean` is new minus old over `count` cases that both runs have; `low` and `high` bound it at 95 %."""

    metric: str
    old: float
    new: float
    mean: float
    low: float
    high: float
    count: int
    verdict: Verdict


def compare(old: Report, new: Report) -> list[Difference]:
    """One difference per metric that both runs measured. Raises InvalidInput when they share no case."""
    metrics = [name for name in DIRECTIONS if old.values(name).keys() & new.values(name).keys()]
    if not metrics:
        raise InvalidInput("The two runs share no case, so they cannot be compared. Run both over the same cases.")
    return [_difference(name, old, new) for name in metrics]


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Percentile bootstrap of the mean. Works in blocks, so that many cases do not take much memory."""
    values = np.asarray(differences, np.float64)
    random = np.random.default_rng(SEED)
    means = [values[random.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def verdict(low: float, high: float, count: int, *, higher_is_better: bool) -> Verdict:
    if count < FEWEST or low <= 0 <= high:
        return "unclear"
    return "better" if (low > 0) == higher_is_better else "worse"


def table(differences: Sequence[Difference]) -> Table:
    shown = Table("metric", "before", "now", "difference", "95 % interval", "cases", "verdict")
    for each in differences:
        shown.add_row(
            each.metric,
            f"{each.old:.3f}",
            f"{each.new:.3f}",
            f"{each.mean:+.3f}",
            f"{each.low:+.3f} to {each.high:+.3f}",
            str(each.count),
            each.verdict,
        )
    return shown


def as_dict(differences: Sequence[Difference]) -> dict[str, Any]:
    return {each.metric: {key: value for key, value in asdict(each).items() if key != "metric"} for each in differences}


def _difference(metric: str, old: Report, new: Report) -> Difference:
    before, now = old.values(metric), new.values(metric)
    shared = [identifier for identifier in now if identifier in before]
    changes = [now[identifier] - before[identifier] for identifier in shared]
    low, high = interval(changes)
    return Difference(
        metric=metric,
        old=float(np.mean([before[identifier] for identifier in shared])),
        new=float(np.mean([now[identifier] for identifier in shared])),
        mean=float(np.mean(changes)),
        low=low,
        high=high,
        count=len(shared),
        verdict=verdict(low, high, len(shared), higher_is_better=DIRECTIONS[metric]),
    )
