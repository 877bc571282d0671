"""EPUB books: the pages of the spine, in reading order, as HTML."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from aegis.errors import UnreadableDocument
from retrieval.loaders import html
from retrieval.loaders.archive import parsed, xml_parts
from retrieval.loaders.cleaning import one_line
from retrieval.loaders.dates import iso_date
from retrieval.loaders.document import Reading
from retrieval.loaders.draft import Draft

_CONTAINER = "META-INF/container.xml"
_DC = "{http://purl.org/dc/elements/1.1/}"


def read(data: bytes) -> Reading:
    parts = xml_parts(data, "EPUB book", pages=True)
    package = _package(parts)
    root = parsed(parts[package])
    if root is None:
        raise _broken()
    draft = Draft()
    for number, path in enumerate(_spine(root, posixpath.dirname(package)), 1):
        if path in parts:
            draft.page(f"section {number}")
            draft.take(html.read(parts[path]))
    return Reading(
        draft.text,
        _stated(root, "title"),
        pages=tuple(draft.pages),
        headings=tuple(draft.headings),
        dated=iso_date(_stated(root, "date")),
    )


def _package(parts: Mapping[str, bytes]) -> str:
    """The path of the file that lists all others."""
    root = parsed(parts[_CONTAINER]) if _CONTAINER in parts else None
    found = root.find(".//{*}rootfile") if root is not None else None
    path = found.get("full-path", "") if found is not None else ""
    if path not in parts:
        raise _broken()
    return path


def _spine(root: Any, folder: str) -> Iterator[str]:
    places = {item.get("id"): item.get("href", "") for item in root.iterfind(".//{*}manifest/{*}item")}
    for entry in root.iterfind(".//{*}spine/{*}itemref"):
        href = unquote(places.get(entry.get("idref"), "")).split("#")[0]
        if href:
            yield posixpath.normpath(posixpath.join(folder, href))


def _stated(root: Any, name: str) -> str | None:
    element = root.find(f".//{_DC}{name}")
    return one_line(element.text or "") or None if element is not None else None


def _broken() -> UnreadableDocument:
    return UnreadableDocument("The EPUB book does not say where its pages are. Convert it again.")
