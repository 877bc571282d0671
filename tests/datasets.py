"""Public evaluation sets, read from the folder that AEGIS_DATASETS names; tests skip where it is unset."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def dataset(name: str) -> Path:
    folder = os.environ.get("AEGIS_DATASETS")
    if not folder or not (Path(folder) / name).is_dir():
        pytest.skip(f"AEGIS_DATASETS names no folder with {name}.")
    return Path(folder) / name


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)
