"""OpenDocument text, sheets and slides (LibreOffice): headings, paragraphs, lists, tables, slides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aegis.errors import UnreadableDocument
from retrieval.loaders.archive import parsed, xml_parts
from retrieval.loaders.cleaning import one_line
from retrieval.loaders.dates import iso_date
from retrieval.loaders.document import Reading
from retrieval.loaders.draft import Draft
from retrieval.loaders.rows import Row, write_rows

MAX_REPEATED = 1_000  # of one cell or row; sheets repeat empty ones a million times to their edge
MAX_DEPTH = 200


def read(data: bytes) -> Reading:
    parts = xml_parts(data, "OpenDocument file")
    if b"encryption-data" in parts.get("META-INF/manifest.xml", b""):
        raise UnreadableDocument("The OpenDocument file is protected by a password. Remove the password.")
    root = parsed(parts.get("content.xml", b"<none/>"))
    body = root.find(".//{*}body") if root is not None else None
    if body is None:
        raise UnreadableDocument("The OpenDocument file has no content. Save it again.")
    draft = Draft()
    _walk(draft, body, 0)
    title, dated = _properties(parts)
    return Reading(draft.text, title, pages=tuple(draft.pages), headings=tuple(draft.headings), dated=dated)


def _walk(draft: Draft, element: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise UnreadableDocument(f"The document is nested more than {MAX_DEPTH} levels deep.")
    slides = 0
    for child in element:
        kind = _kind(child)
        if kind == "h":
            draft.heading(int(_attribute(child, "outline-level") or 1), _text(child))
        elif kind == "p":
            draft.add(one_line(_text(child)), 1 if _kind(element) == "list-item" else 2)
        elif kind == "table":
            _table(draft, child, _kind(element) == "spreadsheet")
        elif kind not in ("tracked-changes", "annotation", "forms", "sequence-decls", "settings"):
            if kind == "page":
                slides += 1
                draft.page(str(slides))
            _walk(draft, child, depth + 1)


def _table(draft: Draft, table: Any, sheet: bool) -> None:
    name = _attribute(table, "name") or "Table"
    place = len(draft.pages)
    if sheet:
        draft.page(name)
        draft.heading(1, name)
    write_rows(draft, _rows(table), f"{name}, row ")
    if not sheet:
        del draft.pages[place:]


def _rows(table: Any) -> Iterator[Row]:
    number = 0
    for row in _own_rows(table, 0):
        cells = list(_cells(row))
        for _ in range(_repeated(row, "number-rows-repeated") if any(cells) else 1):
            number += 1
            yield number, cells
        if not any(cells):
            number += _count(row, "number-rows-repeated") - 1


def _own_rows(element: Any, depth: int) -> Iterator[Any]:
    """Rows may stand in groups; those of tables in cells are their cell's."""
    for child in element:
        kind = _kind(child)
        if kind == "table-row":
            yield child
        elif kind in ("table-header-rows", "table-row-group", "table-rows") and depth < MAX_DEPTH:
            yield from _own_rows(child, depth + 1)


def _cells(row: Any) -> Iterator[str]:
    for cell in row:
        if _kind(cell) in ("table-cell", "covered-table-cell"):
            text = one_line(" ".join(map(_text, cell.iter("{*}p", "{*}h"))))
            yield from [text] * (_repeated(cell, "number-columns-repeated") if text else min(_empty(cell), 50))


def _empty(cell: Any) -> int:
    return _count(cell, "number-columns-repeated")


def _repeated(element: Any, name: str) -> int:
    return min(_count(element, name), MAX_REPEATED)


def _count(element: Any, name: str) -> int:
    stated = _attribute(element, name) or "1"
    return int(stated) if stated.isdecimal() and len(stated) < 10 else 1


def _text(element: Any) -> str:
    """With the spaces, tabs and line breaks that are elements of their own; without remarks at the edge."""
    parts = [element.text or ""]
    for child in element:
        kind = _kind(child)
        if kind in ("s", "tab", "line-break"):
            parts.append(" ")
        elif kind not in ("annotation", ""):
            parts.append(_text(child))
        parts.append(child.tail or "")
    return "".join(parts)


def _kind(element: Any) -> str:
    """The tag without its name space; empty for comments."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _attribute(element: Any, name: str) -> str | None:
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), None)


def _properties(parts: dict[str, bytes]) -> tuple[str | None, Any]:
    root = parsed(parts["meta.xml"]) if "meta.xml" in parts else None
    if root is None:
        return None, None
    stated = {_kind(each): each.text or "" for each in root.iter() if _kind(each) in ("title", "date", "creation-date")}
    return one_line(stated.get("title", "")) or None, iso_date(stated.get("date")) or iso_date(
        stated.get("creation-date")
    )
