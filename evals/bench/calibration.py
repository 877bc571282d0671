"""Logistic regression for a handful of features, and how well it does on documents that the fit did not see."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROUNDS = 30  # of Newton's method; ten are enough
RIDGE = 1.0  # against 1,000 pairs in all
PAIRS = 1000.0
FOLDS = 5

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fit:
    weights: tuple[float, ...]
    bias: float

    def __call__(self, features: Floats) -> Floats:
        return 1 / (1 + np.exp(-(features @ np.array(self.weights) + self.bias)))


def fitted(features: Floats, right: Floats, weights: Floats) -> Fit:
    """`features`: one row a pair; `right`: 1 or 0; `weights`: what each pair counts."""
    weights = weights * (PAIRS / weights.sum())
    mean = np.average(features, axis=0, weights=weights)
    spread = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=weights)) + 1e-9
    rows = np.c_[np.ones(len(features)), (features - mean) / spread]
    ridge = np.diag([0.0, *[RIDGE] * features.shape[1]])
    found = np.zeros(rows.shape[1])
    for _ in range(ROUNDS):
        likely = 1 / (1 + np.exp(-rows @ found))
        slope = rows.T @ (weights * (right - likely)) - ridge @ found
        curve = (rows * (weights * likely * (1 - likely))[:, None]).T @ rows + ridge
        found = found + np.linalg.solve(curve, slope)
    slopes = found[1:] / spread
    return Fit(tuple(round(float(each), 2) for each in slopes), round(float(found[0] - slopes @ mean), 2))


def crossed(features: Floats, right: Floats, weights: Floats, documents: Sequence[str]) -> Floats:
    """Each pair's score by a fit that saw no pair of its document, nor of the fifth of documents it falls into."""
    folds = np.array([int(hashlib.sha256(each.encode()).hexdigest(), 16) % FOLDS for each in documents])
    scores = np.zeros(len(features))
    for fold in range(FOLDS):
        seen = folds != fold
        if (~seen).any() and 0 < right[seen].sum() < seen.sum():
            scores[~seen] = fitted(features[seen], right[seen], weights[seen])(features[~seen])
    return scores
