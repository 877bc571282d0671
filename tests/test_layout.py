"""Our flat package names are common words: they must mean our folders, whatever else is installed."""

from __future__ import annotations

import importlib.util
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
