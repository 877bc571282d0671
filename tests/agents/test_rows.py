"""Rows of tables: counted over all of them, or declined; a question that means no table is left alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from aegis.scope import Scope
from agents.rows import RowCounter, asks_for_rows, count, parsed
from retrieval.catalogue import DocumentEntry
from retrieval.loaders import load

SCOPE = Scope("ann", frozenset({"default"}))
CITIES = ("Berlin", "Oslo", "New York")
ORDERS = "Order,City,Status,Priority,Note\n" + "".join(
    f"{n},{CITIES[n % 3]},{'open' if n % 4 == 0 else 'closed'},{n % 5},{'was open before' if n == 1 else ''}\n"
    for n in range(1, 61)
)
STOCK = "Item,Shelf\n" + "".join(f"bolt {n},{'left' if n % 2 else 'right'}\n" for n in range(30))


def entry(name: str, text: str, media: str = "text/csv") -> DocumentEntry:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    title = name.rpartition(".")[0]
    source = f"file:///docs/{name}"
    return DocumentEntry(name, "default", source, title, media, name, "h", len(text), 1, {}, (), None, at)


@dataclass
class Shelf:
    """Documents by the loader that takes them in."""

    files: dict[str, str]

    async def list_documents(
        self, scope: Scope, *, after: str = "", limit: int = 100, epoch: int | None = None
    ) -> list[DocumentEntry]:
        return [
            entry(name, text, load(text.encode(), name).media_type)
            for name, text in sorted(self.files.items())
            if name > after
        ][:limit]

    async def text(self, scope: Scope, document_id: str, version_id: str | None = None) -> str:
        return load(self.files[document_id].encode(), document_id).text


FILES = Shelf({"orders.csv": ORDERS, "stock.csv": STOCK, "notes.md": "# Notes\n\nA table has rows. Berlin is far."})


async def told(question: str) -> str | None:
    found = await RowCounter(FILES)(question, SCOPE, None)
    return None if found is None else ("declined: " if found.declined else "") + found.text


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("How many rows are in the orders table?", ": 60 rows."),
        ("How many rows in orders.csv have the city Berlin?", ": 20 of 60 rows have “berlin” in the column “City”."),
        ("How many orders in the sheet have the status open?", ": 15 of 60 rows have “open” in the column “Status”."),
        ("Count the rows of orders.csv with status closed and city Oslo.", ": 15 of 60 rows"),
        ("How many records in orders have the city New York?", ": 20 of 60 rows"),
        ("How many rows of orders.csv have priority 3?", ": 12 of 60 rows have “3” in the column “Priority”."),
        ("How many entries in the stock sheet are on the left shelf?", ": 15 of 30 rows"),
        ("How many rows in orders.csv have the status closed and priority 0 and city Berlin?", ": 3 of 60 rows"),
    ],
)
async def test_counts_every_row(question: str, says: str) -> None:
    assert says in (await told(question) or "")


async def test_lists_the_rows_that_match() -> None:
    text = await told("List the rows of orders.csv with the status open and priority 0.")
    assert text is not None
    assert text.count("\n- ") == 3
    assert "- Order: 20 | City: New York | Status: open | Priority: 0" in text


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("How many rows in orders.csv have a priority above 3?", "above"),
        ("How many rows of orders.csv do not have the status open?", "not"),
        ("How many rows in orders.csv are open?", "say which is meant"),  # the column Note holds the word, too
    ],
)
async def test_declines_what_it_would_count_wrongly(question: str, reason: str) -> None:
    text = await told(question) or ""
    assert text.startswith("declined: ")
    assert reason in text


@pytest.mark.parametrize(
    "question",
    [
        "How many rows does a write transaction hold?",
        "What is in the orders table of the database design?",
        "How many customers are from Berlin?",
        "Which table did Berlin move to?",
        "How far is Berlin?",
    ],
)
async def test_a_question_that_means_no_table_is_left_alone(question: str) -> None:
    assert await told(question) is None


async def test_a_collection_without_tables() -> None:
    assert await RowCounter(Shelf({"notes.md": "Text."}))("How many rows are in the sheet?", SCOPE, None) is None


def test_only_questions_that_speak_of_rows_or_sheets_read_any() -> None:
    assert not asks_for_rows("How many employees are there?")
    assert count("How many rows?", parsed(entry("empty.csv", ""), "")) is None
