"""Our flat package names are common words: they must mean our folders, whatever else is installed."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("agents", "graphs", "retrieval", "memory", "inference", "api", "ui", "evals", "aegis", "samples")


@pytest.mark.parametrize("name", PACKAGES)
def test_a_name_is_our_folder(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    places = [Path(place).resolve() for place in spec.submodule_search_locations or ()]
    assert places[:1] == [ROOT / name]


def test_top_level_is_what_the_design_names() -> None:
    given = {"agents", "graphs", "ui", "api", "memory", "evals", "tests", "langgraph.json", "pyproject.toml"}
    assert given <= {path.name for path in ROOT.iterdir()}


def test_no_file_imports_another_in_a_circle() -> None:
    """Imports within functions and for types count, too: whoever reads one of the files has to read the other."""
    files = {path: _module(path) for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
    modules = set(files.values())
    TopologicalSorter({name: set(_imported(path, modules)) - {name} for path, name in files.items()}).prepare()


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imported(path: Path, modules: set[str]) -> Iterator[str]:
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            named = [f"{node.module}.{one.name}" for one in node.names]
            yield from (name if name in modules else node.module for name in named if node.module in modules)
