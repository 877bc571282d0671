"""Counting what is in the catalogue, and declining what cannot be counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agents.inventory import SHOWN, answer, understood
from retrieval.catalogue import DocumentEntry

NOW = datetime(2026, 3, 11, 15, tzinfo=UTC)  # a Wednesday


def entry(title: str, media: str, days: int, chars: int = 100, tags: tuple[str, ...] = ()) -> DocumentEntry:
    at = NOW - timedelta(days=days)
    source = f"file:///docs/{title}"
    return DocumentEntry(title, "default", source, title, media, f"v-{title}", "h", chars, 1, {}, tags, None, at)


LIBRARY = (
    entry("pricing.pdf", "application/pdf", 0, 500, ("finance",)),
    entry("handbook.pdf", "application/pdf", 1, 9000),
    entry("notes.md", "text/markdown", 40, 50, ("finance", "team")),
)


@pytest.mark.parametrize("number", ["9" * 8000, "²", "٣"])
def test_a_number_of_any_length_or_script_is_no_error(number: str) -> None:
    assert 1 <= understood(f"list the {number} newest documents").number <= SHOWN


def told(question: str) -> str:
    return answer(understood(question), LIBRARY, len(LIBRARY), NOW)


@pytest.mark.parametrize(
    ("question", "says", "not_said"),
    [
        ("How many documents are there?", ["3 documents"], ["pricing"]),
        ("how many pdfs do we have", ["2 PDF documents", "of 3"], []),
        ("List all PDF files.", ["pricing.pdf", "handbook.pdf"], ["notes.md"]),
        ("What is the newest document?", ["pricing.pdf"], ["handbook", "notes"]),
        ("Which is the longest document?", ["handbook.pdf"], ["pricing"]),
        ("List the two oldest files", ["notes.md", "handbook.pdf"], ["pricing"]),
        ("Show me the files that were added today.", ["pricing.pdf"], ["handbook"]),
        ("Which files were uploaded yesterday?", ["handbook.pdf"], ["pricing"]),
        ("Which files were added this week?", ["handbook.pdf", "pricing.pdf"], ["notes"]),
        ("Which documents have the tag team?", ["notes.md"], ["pricing"]),
        ("Is there a document called pricing.pdf?", ["1 document", "pricing.pdf"], ["notes"]),
        ("Is there a document called unicorn?", ["no documents", "unicorn"], ["pricing"]),
        ("Which file types are in the collection?", ["PDF: 2", "Markdown: 1"], []),
        ("Which tags are there?", ["finance: 2", "team: 1"], []),
        ("Do you have any Word documents?", ["no Word documents"], ["pricing"]),
    ],
)
def test_counts_and_lists(question: str, says: list[str], not_said: list[str]) -> None:
    text = told(question)
    assert all(part in text for part in says), text
    assert not any(part in text for part in not_said), text


@pytest.mark.parametrize(
    ("question", "unknown"),
    [
        ("How many documents mention Neo4j?", "neo4j"),
        ("How many documents were added in March?", "march"),
        ("List all files by Maria", "maria"),
    ],
)
def test_a_condition_that_is_not_understood_is_named(question: str, unknown: str) -> None:
    assert unknown in understood(question).unknown
