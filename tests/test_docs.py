"""What the documentation names exists: linked files and headings, make targets, commands."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
import typer.main

from aegis.cli import app
from graphs.rag import Nodes

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"```.*?```|<!--.*?-->", re.DOTALL)
_TARGET = re.compile(r"\bmake ([a-z][a-z-]*)\b")
_COMMAND = re.compile(r"(?:`|bin/|Scripts\\)aegis ([a-z]+)")

name_of = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def _anchors(page: Path) -> set[str]:
    """Anchors of headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@name_of
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(_FENCE.sub("", page.read_text("utf-8"))):
        if link.startswith(("http://", "https://")):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


@name_of
def test_make_targets_exist(page: Path) -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    code = re.findall(r"`[^`\n]+`|```.*?```", page.read_text("utf-8"), re.DOTALL)
    assert {target for part in code for target in _TARGET.findall(part)} <= known


@name_of
def test_commands_exist(page: Path) -> None:
    group = typer.main.get_group(app)
    assert set(_COMMAND.findall(page.read_text("utf-8"))) <= set(group.commands)


def test_the_drawing_of_a_question_names_every_step() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    drawing = page.partition("## A question")[2].partition("```mermaid")[2].partition("```")[0]
    assert {field.name for field in fields(Nodes)} <= set(re.findall(r"[a-z_]+", drawing))
