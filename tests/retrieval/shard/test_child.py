"""What every child process that holds an index pays for before it holds one."""

from __future__ import annotations

import subprocess
import sys

from retrieval.store.edge_process import SCRIPT


def test_it_imports_the_engine_and_the_standard_library_only() -> None:
    """numpy alone would add 12 MB to each child and 50 ms to each of its starts."""
    started = [sys.executable, "-P", "-X", "importtime", str(SCRIPT)]  # it ends when its input does
    done = subprocess.run(started, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True)

    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    ours = {name for name in modules if name.partition(".")[0] in ("aegis", "retrieval", "memory", "inference")}
    assert "qdrant_edge" in modules
    assert "numpy" not in modules
    assert all(name == "retrieval" or name.startswith("retrieval.shard") for name in ours)
