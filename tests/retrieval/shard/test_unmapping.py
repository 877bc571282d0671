"""Mapped pages are let go of, and nothing that was written to them is lost."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import psutil
import pytest

from retrieval.shard.unmapping import let_go

SIZE = 32 * 2**20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Pages are let go of on Linux only.")


def resident(path: Path) -> int:
    return sum(each.rss for each in psutil.Process().memory_maps() if each.path == str(path))


def test_pages_leave_the_account_and_keep_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "page_0.dat"
    path.write_bytes(bytes(SIZE))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), SIZE) as mapped:
        mapped[:] = b"x" * SIZE
        assert resident(path) >= SIZE
        assert let_go(tmp_path / "other") == 0
        assert let_go(tmp_path) == SIZE
        assert resident(path) < SIZE // 100
        assert mapped[SIZE // 2] == ord("x")
    assert path.read_bytes() == b"x" * SIZE
