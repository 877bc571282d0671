"""Memory of a long-lived process: its collector of cycles walks only what may be garbage, and what was taken for
ingestion goes back to the system when it is quiet again.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

LOOK = 10.0  # seconds
QUIET = 0.1  # share of a processor below which nobody notices that the allocator is held for some milliseconds
YOUNG = 10_000  # new objects that bring on a look for cycles among them (700 by default): most are gone by then
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

    often = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(YOUNG, *often[1:])
    gc.callbacks.append(settle)
    try:
        yield
    finally:
        gc.callbacks.remove(settle)
        gc.set_threshold(*often)
        gc.unfreeze()


async def give_back() -> None:
    """For ever: after each busy time, hand the C library's free memory back (glibc only; elsewhere nothing happens)."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    trim = getattr(library, "malloc_trim", None)
    busy = trim is not None
    while trim is not None:
        used = time.process_time()
        await asyncio.sleep(LOOK)
        if time.process_time() - used > QUIET * LOOK:
            busy = True
        elif busy:
            busy = False
            await asyncio.to_thread(trim, 0)
