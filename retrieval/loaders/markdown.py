"""Markdown, by way of HTML: links lose their addresses and emphasis its stars, which would only disturb search."""

from __future__ import annotations

import re
from dataclasses import replace

from retrieval.loaders import html
from retrieval.loaders.charset import decode
from retrieval.loaders.cleaning import one_line
from retrieval.loaders.dates import iso_date
from retrieval.loaders.document import Reading

_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.{0,20000}?)\r?\n(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.S)
_FIELD = re.compile(r"^(title|date|updated|lastmod)\s*:\s*[\"']?(.*?)[\"']?\s*$", re.I | re.M)


def read(data: bytes) -> Reading:
    text, fields = _split_front_matter(decode(data))
    found = read_text(text)
    dated = iso_date(fields.get("lastmod")) or iso_date(fields.get("updated")) or iso_date(fields.get("date"))
    return replace(found, title=one_line(fields.get("title", "")) or None, dated=dated)


def read_text(text: str) -> Reading:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": True, "maxNesting": 40}).enable(["table", "strikethrough"])
    return html.read_text(f"<html><body>{parser.render(text)}</body></html>")


def _split_front_matter(text: str) -> tuple[str, dict[str, str]]:
    """The text without a YAML header, and the header's fields that a catalogue needs."""
    match = _FRONT_MATTER.match(text)
    if match is None:
        return text, {}
    return text[match.end() :], {name.lower(): value for name, value in _FIELD.findall(match.group(1))}
