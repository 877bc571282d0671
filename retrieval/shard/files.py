"""What is noted about a shard's files, beside them: sizes and checksums."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


def appendable_points(shard: Path) -> int:
    """Points in segments that have no index: eight bytes of version each (deleted ones included)."""
    return sum(path.stat().st_size // 8 for path in shard.glob("segments/*/mutable_id_tracker.versions"))


def fingerprint(folder: Path, wanted: Callable[[str], bool]) -> dict[str, list[int]]:
    """Path in the folder -> [size, CRC-32]."""
    found: dict[str, list[int]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and wanted(name):
            found[name] = [path.stat().st_size, _crc(path)]
    return found


def _crc(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            value = zlib.crc32(block, value)
    return value


def write_json(path: Path, value: Any) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(value))
    os.replace(fresh, path)
