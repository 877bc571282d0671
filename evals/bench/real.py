"""Real servers for benchmarks: those that the environment names, or started as the tests start theirs."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Literal

from aegis.errors import NotFound
from evals.bench.server import ROOT


@contextmanager
def some(kind: Literal["neo4j", "postgres"]) -> Generator[str]:
    """Its address. Raises NotFound, saying what is missing."""
    variable = f"AEGIS_TEST_{kind.upper()}_URL"
    if given := os.environ.get(variable):
        yield given
        return
    if not (ROOT / f"tests/servers/{kind}.py").is_file():
        raise NotFound(f"No {kind}: {variable} names none, and the starter that comes with the tests is not here.")
    sys.path.insert(0, str(ROOT))  # before those of installed packages, some of which bring a `tests`, too
    servers, starter = import_module("tests.servers"), import_module(f"tests.servers.{kind}")
    try:
        running = getattr(starter, f"running_{kind}")()
        url = running.__enter__()
    except servers.ServerMissing as missing:
        raise NotFound(f"No {kind}: {missing} Or set {variable}.") from missing
    try:
        yield url
    finally:
        running.__exit__(None, None, None)
