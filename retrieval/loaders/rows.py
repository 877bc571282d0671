"""Rows of tables -> lines that can be read alone: every value with its column's name, every row with its number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time
from itertools import chain, islice
from typing import Any

from aegis.errors import TooLarge
from retrieval.loaders.cleaning import one_line
from retrieval.loaders.draft import Draft

MAX_ROWS = 200_000
MAX_CELLS = 2_000_000
MAX_CELL = 20_000  # characters shown of one cell
Row = tuple[int, Sequence[str]]  # its number, from 1, and its cells


def write_rows(draft: Draft, rows: Iterable[Row], place: str) -> None:
    """`place` is what stands before the row's number in its label ("Sheet1, row "). Raises TooLarge.

    Rows after an empty one are a table of their own, with a header of their own if they have one.
    """
    for table in _tables(_bounded(rows)):
        first = list(islice(table, 2))
        names = _header(first)
        for number, cells in chain(first[1:] if names else first, table):
            line = _line(names, cells)
            if line:
                draft.page(f"{place}{number}")
                draft.add(line, 1)


def shown(value: Any) -> str:
    """A cell as a reader of the sheet would see it, about."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(" ", "minutes") if value.time() != time() else value.date().isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, float):
        return f"{value:.15g}"
    return one_line(str(value)[:MAX_CELL])


def _bounded(rows: Iterable[Row]) -> Iterator[Row]:
    count, cells = 0, 0
    for row in rows:
        filled = sum(1 for cell in row[1] if cell)
        cells += filled
        count += filled > 0
        if count > MAX_ROWS or cells > MAX_CELLS:
            raise TooLarge(
                f"The table has more than {MAX_ROWS:,} rows or {MAX_CELLS:,} cells. Split it.",
                limit=MAX_ROWS,
            )
        yield row


def _tables(rows: Iterable[Row]) -> Iterator[Iterator[Row]]:
    """Runs of rows that are not empty. Each must be used up before the next is asked for."""
    remaining = iter(rows)
    for row in remaining:
        if any(row[1]):
            yield chain([row], _until_empty(remaining))


def _until_empty(rows: Iterator[Row]) -> Iterator[Row]:
    for row in rows:
        if not any(row[1]):
            return
        yield row


def _header(first: Sequence[Row]) -> Sequence[str] | None:
    """The names of columns, if the first of at least two rows looks like such: different short words, no numbers."""
    if len(first) < 2:
        return None
    names = list(first[0][1])
    while names and not names[-1]:
        names.pop()
    named = [name for name in names if name]
    wordy = all(len(name) <= 80 and not _number(name) for name in named)
    return names if len(named) > 1 and len(set(named)) == len(named) >= len(names) - 1 and wordy else None


def _number(text: str) -> bool:
    return not any(map(str.isalpha, text))


def _line(names: Sequence[str] | None, cells: Sequence[str]) -> str:
    if names is None:
        return " | ".join(cell for cell in cells if cell)
    named = [*names, *[""] * (len(cells) - len(names))]
    return " | ".join(f"{name}: {cell}" if name else cell for name, cell in zip(named, cells, strict=False) if cell)
