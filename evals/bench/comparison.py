"""Two runs of one benchmark, question by question: is the one slower than the other, or is it noise?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aegis.errors import InvalidInput

RESAMPLES = 2000
FEWEST = 20  # questions that both runs have answered


def ratio(now: Sequence[float | None], before: Sequence[float | None], seed: int = 0) -> dict[str, float]:
    """Geometric mean of the paired ratios now / before, and its 95 % interval (bootstrap over questions, percentiles).

    The i-th figures of both are of the same question. Raises InvalidInput when too few have both.
    """
    pairs = [(a, b) for a, b in zip(now, before, strict=False) if a is not None and b is not None]
    if len(pairs) < FEWEST:
        raise InvalidInput(f"{len(pairs)} questions have figures in both runs; a comparison needs {FEWEST}.")
    logs = np.log([a / b for a, b in pairs])
    drawn = np.random.default_rng(seed).integers(0, len(logs), (RESAMPLES, len(logs)))
    low, high = np.percentile(logs[drawn].mean(axis=1), (2.5, 97.5))
    middle, low, high = (round(float(np.exp(figure)), 3) for figure in (logs.mean(), low, high))
    return {"ratio": middle, "low": low, "high": high, "questions": len(pairs)}


def baseline(file: str) -> Mapping[str, Any]:
    """What `--json` printed before. Raises InvalidInput."""
    try:
        found = json.loads(Path(file).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{file} is no result of this benchmark: {error}") from error
    if not isinstance(found, dict) or "http" not in found:
        raise InvalidInput(f"{file} is no result of `aegis bench http --json`.")
    return found
