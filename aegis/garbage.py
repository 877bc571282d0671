"""The collector of cycles, which holds up everything while it walks: what stays as long as the server is set apart."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

SETTLING = 6  # full collections after which no more is set apart: statements are compiled, caches are full


@contextmanager
def set_apart() -> Generator[None]:
    """While the body runs, what was imported (.2 s to walk), and what the first full collections leave, is not walked.

    Such an object is freed as ever when nobody refers to it; only cycles of them would stay.
    """
    left = SETTLING

    def settle(phase: str, about: dict[str, Any]) -> None:
        nonlocal left
        if phase == "stop" and about["generation"] == 2 and left > 0:
            left -= 1
            gc.freeze()

    gc.freeze()
    gc.callbacks.append(settle)
    try:
        yield
    finally:
        gc.callbacks.remove(settle)
        gc.unfreeze()
