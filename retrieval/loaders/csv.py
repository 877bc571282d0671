"""Comma, semicolon and tab separated values, row by row."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from aegis.errors import UnreadableDocument
from retrieval.loaders.charset import decode
from retrieval.loaders.document import Reading
from retrieval.loaders.draft import Draft
from retrieval.loaders.rows import Row, shown, write_rows

_SEPARATORS = ",;\t|"
_FIELD = 1_000_000  # characters of one field: an unclosed quote would swallow the rest


def read(data: bytes) -> Reading:
    text = decode(data).removeprefix("\ufeff")
    draft = Draft()
    write_rows(draft, _rows(text), "row ")
    return Reading(draft.text, pages=tuple(draft.pages))


def _rows(text: str) -> Iterator[Row]:
    csv.field_size_limit(_FIELD)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=_separator(text))
    try:
        for number, cells in enumerate(reader, 1):
            yield number, [shown(cell) for cell in cells]
    except csv.Error as error:
        raise UnreadableDocument(f"Line {reader.line_num} is no row of a table: {error}.") from error


def _separator(text: str) -> str:
    """The one that divides most of the first lines into the same number of fields."""
    first = [line for line in text[:20_000].splitlines()[:20] if line.strip()]

    def agreement(separator: str) -> tuple[int, int]:
        counts = [line.count(separator) for line in first]
        common = max(set(counts), key=counts.count, default=0)
        return (counts.count(common) if common else 0, common)

    return max(_SEPARATORS, key=agreement)
