"""Benchmarks, one file each. Each prints what was measured beside its floor or rival, in one run, with the ratio.

A benchmark's module holds `bench(*, quiet: bool, ...) -> dict`; the dict is what `--json` prints. Its further keyword
parameters are the options it takes. It is imported when it is asked for: its rivals may be heavy or missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from typing import Any

from aegis.errors import InvalidInput, NotFound

BENCHES: Mapping[str, str] = {
    "http": "evals.bench.http",
    "retrieval": "evals.bench.retrieval",
    "graph": "evals.bench.graph",
    "memory": "evals.bench.memory",
    "chunking": "evals.bench.chunking",
    "turns": "evals.bench.turns",
    "evidence": "evals.bench.evidence",
    "extractive": "evals.bench.extractive",
    "ensemble": "evals.bench.ensemble",
    "languages": "evals.bench.languages",
    "footprint": "evals.bench.footprint",
    "stalls": "evals.bench.stalls",
    "ingestion": "evals.bench.ingestion",
    "inference": "evals.bench.inference",
    "formats": "evals.bench.formats",
    "memory-tiers": "evals.bench.memory_tiers",
    "cache": "evals.bench.cache",
}


def run(name: str, *, quiet: bool = False, **options: str | bool) -> dict[str, Any]:
    """Raises NotFound for a name that is none, InvalidInput for an option that this benchmark does not take."""
    if name not in BENCHES:
        raise NotFound(f"There is no benchmark {name!r}. Known are: {', '.join(BENCHES)}, all.")
    bench = import_module(BENCHES[name]).bench
    foreign = options.keys() - signature(bench).parameters.keys()
    if foreign:
        raise InvalidInput(f"The benchmark {name} takes no --{min(foreign).replace('_', '-')}.")
    return bench(quiet=quiet, **options)


def run_all(*, quiet: bool = False) -> dict[str, Any]:
    """Each by its name. One whose data sets are not here is skipped by name, not failed."""
    found: dict[str, Any] = {}
    for name in BENCHES:
        try:
            found[name] = run(name, quiet=quiet)
        except NotFound as missing:
            found[name] = {"skipped": missing.message}
            if not quiet:
                print(f"{name} is skipped: {missing.message}")  # noqa: T201  # a command's own output
    return found
