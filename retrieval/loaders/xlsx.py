"""Excel workbooks, sheet by sheet and row by row, as last calculated."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from retrieval.loaders.archive import xml_parts
from retrieval.loaders.document import Reading
from retrieval.loaders.docx import properties
from retrieval.loaders.draft import Draft
from retrieval.loaders.rows import Row, shown, write_rows

MAX_COLUMNS = 1_000


def read(data: bytes) -> Reading:
    title, dated = properties(xml_parts(data, "Excel workbook"))
    from openpyxl import load_workbook

    book = load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
    draft = Draft()
    for sheet in book.worksheets:
        if sheet.sheet_state == "visible":
            before = len(draft.parts)
            draft.page(sheet.title)
            draft.heading(1, sheet.title)
            heading = len(draft.parts)
            write_rows(draft, _rows(sheet), f"{sheet.title}, row ")
            if len(draft.parts) == heading:  # a name alone says nothing
                _forget(draft, before)
    book.close()
    return Reading(draft.text, title, pages=tuple(draft.pages), headings=tuple(draft.headings), dated=dated)


def _rows(sheet: Any) -> Iterator[Row]:
    sheet.reset_dimensions()  # what a file says of its size may be wrong, and millions of empty rows
    for number, cells in enumerate(sheet.iter_rows(values_only=True, max_col=MAX_COLUMNS), 1):
        yield number, [shown(cell) for cell in cells]


def _forget(draft: Draft, parts: int) -> None:
    draft.length -= sum(map(len, draft.parts[parts:]))
    del draft.parts[parts:]
    draft.headings.pop()
    draft.pages.pop()
