"""Benchmarks, one file each. Each prints what was measured beside its floor or rival, in one run, with the ratio.

A benchmark's module holds `bench(*, quiet: bool) -> dict`; the dict is what `--json` prints. It is imported when it is
asked for, because its rivals may be heavy or missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from aegis.errors import NotFound

BENCHES: Mapping[str, str] = {"http": "evals.bench.http"}


def run(name: str, *, quiet: bool = False) -> dict[str, Any]:
    """Raises NotFound for a name that is none."""
    if name not in BENCHES:
        raise NotFound(f"There is no benchmark {name!r}. Known are: {', '.join(BENCHES)}, all.")
    return import_module(BENCHES[name]).bench(quiet=quiet)
