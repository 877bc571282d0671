"""docs/configuration.md names every setting with its default and meaning, and no setting that is gone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aegis.settings import Settings
from tests.configuration_table import PAGE, page_with_table, rows

ROOT = PAGE.parents[1]
_VARIABLE = re.compile(r"\bAEGIS_[A-Z0-9_]+\b")

# Variables of tests, scripts and make targets: not settings of the program.
ELSEWHERE = re.compile(r"AEGIS_(TEST_[A-Z0-9]+_URL|DATASETS|PYTHON)$")


def test_the_table_is_up_to_date() -> None:
    page = PAGE.read_text("utf-8")
    assert page == page_with_table(page), "run `python -m tests.configuration_table`"


def test_every_setting_says_what_it_means() -> None:
    assert not [row.name for row in rows() if not row.meaning]
    assert len(rows()) > 50


@pytest.mark.parametrize("file", ["README.md", ".env.example", "docs/operations.md", "docs/configuration.md"])
def test_no_page_names_a_setting_that_does_not_exist(file: str) -> None:
    known = {row.name for row in rows()}
    named = set(_VARIABLE.findall((ROOT / file).read_text("utf-8")))
    assert not {name for name in named - known if not ELSEWHERE.match(name) and not name.endswith("_")}


def test_the_example_file_is_accepted_with_everything_uncommented(tmp_path: Path) -> None:
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    file = tmp_path / ".env"
    file.write_text("\n".join(line.removeprefix("# ") for line in lines if "AEGIS_" in line and "=" in line), "utf-8")

    settings = Settings(_env_file=file)  # pyright: ignore[reportCallIssue]  # pydantic-settings takes it
    assert settings.database.kind == "postgres"
    assert settings.vectors.kind == "qdrant"
    assert settings.graph.kind == "neo4j"
    assert settings.cache.kind == "redis"
    assert settings.ingestion.samples is False
