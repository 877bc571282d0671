"""HTML: what a reader of the page would see, with headings, lists, tables and code kept in form.

Scripts, styles, forms' controls, navigation and hidden elements are left out: what people cannot see on the page must
not be cited, and hidden text is where instructions to models are planted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from aegis.errors import UnreadableDocument
from retrieval.loaders.charset import decode
from retrieval.loaders.cleaning import one_line
from retrieval.loaders.dates import iso_date
from retrieval.loaders.document import Reading
from retrieval.loaders.draft import Draft

MAX_DEPTH = 2_000  # of nesting; browsers stop at 512


def _tags(names: str) -> frozenset[str]:
    return frozenset(names.split())


_META_CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w-]+)", re.I)
_XML_CHARSET = re.compile(rb"^\s*<\?xml[^>]+encoding\s*=\s*[\"']([\w-]+)", re.I)
_XML_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.I)
_SKIPPED = _tags("script style noscript template iframe object embed nav select button textarea svg head audio video")
_BLOCKS = _tags(
    "p div section article main header footer aside address blockquote figure figcaption caption details "
    "summary fieldset form legend ul ol dl dt dd li table thead tbody tfoot tr td th pre hr body html "
    "center option"
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
# Inside a cell these make it part of a page's layout, not of a table of data.
_LAYOUT = ("table", *_HEADINGS)
_DATES = ("article:modified_time", "article:published_time", "dcterms.modified", "dcterms.date", "dc.date", "date")


def read(data: bytes) -> Reading:
    declared = _META_CHARSET.search(data[:4096]) or _XML_CHARSET.match(data[:200])
    return read_text(decode(data, declared.group(1).decode("ascii", "replace") if declared else None))


def read_text(markup: str) -> Reading:
    """The reading of a page that is characters already; other formats come here by way of HTML."""
    root = _parsed(_XML_DECLARATION.sub("", markup))
    if root is None:
        return Reading("")
    draft = Draft()
    _Walk(draft).over(root)
    return Reading(draft.text, _title(root), headings=tuple(draft.headings), dated=_dated(root))


def _parsed(markup: str) -> Any:
    from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]  # no types

    # UTF-8 has no bytes for lone surrogates; NUL would end the page for the parser.
    data = markup.replace("\0", "").encode("utf-8", "replace")
    parser = etree.HTMLParser(encoding="utf-8", huge_tree=True, no_network=True)
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        if "Document is empty" in str(error):
            return None
        raise UnreadableDocument(f"The HTML cannot be parsed: {error}") from error


def _title(root: Any) -> str | None:
    element = root.find("head/title")
    return one_line(element.text or "") or None if element is not None else None


def _dated(root: Any) -> Any:
    stated = dict[str, str]()
    for meta in root.iterfind("head/meta"):
        name = meta.get("property") or meta.get("name") or ""
        stated.setdefault(name.lower(), meta.get("content") or "")
    return next((date for name in _DATES if (date := iso_date(stated.get(name)))), None)


@dataclass(slots=True)
class _Table:
    """`row` is None outside a row. A table that only lays out a page is walked as plain blocks."""

    layout: bool
    row: list[str] | None = None
    rows: int = 0


@dataclass(slots=True)
class _Walk:
    """One pass over start and end events: no recursion, so depth costs nothing."""

    draft: Draft
    inline: list[str] = field(default_factory=list[str])
    lists: list[int | None] = field(default_factory=list["int | None"])  # next number; None for bullets
    tables: list[_Table] = field(default_factory=list[_Table])
    prefix: str = ""
    gap: int = 2
    pre: int = 0
    depth: int = 0

    def over(self, root: Any) -> None:
        from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]  # no types

        walker = etree.iterwalk(root, events=("start", "end", "comment", "pi"))
        for event, element in walker:
            if event == "start":
                if self._skipped(element):
                    walker.skip_subtree()
                else:
                    self._start(element)
                continue
            if event == "end" and not self._skipped(element):
                self._end(element)
            if element.tail:
                self.inline.append(element.tail)
        self._flush()

    def _skipped(self, element: Any) -> bool:
        if element.tag in _SKIPPED:
            return True
        attributes = element.attrib
        return bool(attributes) and ("hidden" in attributes or bool(_HIDDEN.search(attributes.get("style", ""))))

    def _start(self, element: Any) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UnreadableDocument(f"The HTML is nested more than {MAX_DEPTH:,} levels deep, which no page needs.")
        tag = element.tag
        if tag in _HEADINGS or tag in _BLOCKS:
            self._boundary()
            self._open(tag, element)
        elif tag == "br":
            self._line_break()
        if element.text:
            self.inline.append(element.text)

    def _end(self, element: Any) -> None:
        self.depth -= 1
        tag = element.tag
        if tag in _HEADINGS and not self._in_cell():
            self._heading(_HEADINGS[tag])
        elif tag in _HEADINGS or tag in _BLOCKS:
            self._boundary()
            self._close(tag)

    def _open(self, tag: str, element: Any) -> None:
        if tag == "pre":
            self.pre += 1
        elif tag in ("ul", "ol"):
            self.lists.append(_first_number(element) if tag == "ol" else None)
        elif tag == "li":
            self._item()
        elif tag == "dd":
            self.prefix, self.gap = "  ", 1
        elif tag == "table":
            self.tables.append(_Table(next(element.iterdescendants(*_LAYOUT), None) is not None))
        elif tag == "tr" and self.tables and not self.tables[-1].layout:
            self.tables[-1].row = []

    def _close(self, tag: str) -> None:
        if tag == "pre":
            self.pre -= 1
        elif tag in ("ul", "ol") and self.lists:
            self.lists.pop()
            self.gap = 1 if self.lists else 2
        elif tag in ("td", "th") and self._in_cell():
            self._cell()
        elif tag == "tr" and self._in_cell():
            self._row()
        elif tag == "table" and self.tables:
            self.tables.pop()

    def _in_cell(self) -> bool:
        return bool(self.tables) and self.tables[-1].row is not None

    def _boundary(self) -> None:
        """Between blocks: a new block, but inside a cell of data only a space."""
        if self._in_cell():
            self.inline.append(" ")
        else:
            self._flush()

    def _line_break(self) -> None:
        if self.pre:
            self.inline.append("\n")
        elif self._in_cell():
            self.inline.append(" ")
        else:
            self._flush()
            self.gap = 1

    def _item(self) -> None:
        number = self.lists[-1] if self.lists else None
        if self.lists and number is not None:
            self.lists[-1] = number + 1
        indent = "  " * min(max(len(self.lists) - 1, 0), 20)
        self.prefix = f"{indent}{'-' if number is None else f'{number}.'} "

    def _heading(self, level: int) -> None:
        text, self.inline, self.prefix = "".join(self.inline), [], ""
        self.draft.heading(level, text)
        self.gap = 2

    def _flush(self) -> None:
        raw, self.inline = "".join(self.inline), []
        text = raw.strip("\n") if self.pre else one_line(raw)
        if not text.strip():
            return
        start = self.draft.add(self.prefix + text, self.gap)
        if start is not None:
            self.gap = 1 if self.lists else 2
            self.prefix = ""

    def _cell(self) -> None:
        table, text = self.tables[-1], one_line("".join(self.inline))
        self.inline = []
        if table.row is not None:
            table.row.append(text)

    def _row(self) -> None:
        table = self.tables[-1]
        stray = one_line("".join(self.inline))
        cells = [*(table.row or []), *([stray] if stray else [])]
        self.inline, table.row = [], None
        if any(cells):
            self.draft.add(" | ".join(cells), 1 if table.rows else 2)
            table.rows += 1
            self.gap = 2


def _first_number(element: Any) -> int:
    start = element.get("start", "")
    return int(start) if start.isdecimal() and len(start) < 7 else 1
