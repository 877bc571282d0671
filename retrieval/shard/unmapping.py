"""Pages of mapped files that were read once, while the engine opened them, are not kept in the process's account.

An opened shard maps some 70 MB of mostly empty files and touches all of it. The pages stay in the system's cache and
come back when they are asked for: nothing is read or lost that way. Linux only; elsewhere nothing happens.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path

MAPS = Path("/proc/self/maps")
_MADV_DONTNEED = 4


def let_go(folder: Path) -> int:
    """Of files below `folder` that are mapped and shared, so that what was written to them stays; how many bytes."""
    if sys.platform != "linux":
        return 0
    library = ctypes.CDLL(None)
    library.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return sum(end - start for start, end in _shared(folder) if not library.madvise(start, end - start, _MADV_DONTNEED))


def _shared(folder: Path) -> Iterator[tuple[int, int]]:
    below = f"{folder.resolve()}/"
    for line in MAPS.read_text("utf-8", "replace").splitlines():
        place, rights, *_, name = line.split(maxsplit=5)
        if rights.endswith("s") and name.startswith(below):
            start, _, end = place.partition("-")
            yield int(start, 16), int(end, 16)
