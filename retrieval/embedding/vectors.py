"""What models give -> rows of unit length."""

from __future__ import annotations

from typing import Any

import numpy as np

from retrieval.store import Dense


def unit(rows: Any) -> Dense:
    """Float32 rows divided by their lengths; a row of zeros (a text without a known token) stays as it is."""
    vectors = np.asarray(rows, dtype=np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    return (vectors / lengths).astype(np.float32, copy=False)
