"""Word: mammoth turns it into HTML (headings by style, lists, tables, footnotes), which our HTML reader walks."""

from __future__ import annotations

import io
from typing import Any

from retrieval.loaders import html
from retrieval.loaders.archive import parsed, xml_parts
from retrieval.loaders.cleaning import one_line
from retrieval.loaders.dates import iso_date
from retrieval.loaders.document import Reading

_CORE = "docProps/core.xml"


def read(data: bytes) -> Reading:
    parts = xml_parts(data, "Word file")
    from mammoth import convert_to_html
    from mammoth.images import img_element

    converted = convert_to_html(io.BytesIO(data), convert_image=img_element(_no_image), style_map=_STYLES)
    found = html.read_text(converted.value)
    title, dated = properties(parts)
    return Reading(found.text, title, headings=found.headings, dated=dated)


# Mammoth knows the English style names only; ids stay the same in most languages' Word.
_STYLES = "\n".join(
    [
        "p[style-name='Title'] => h1:fresh",
        "p[style-name='Subtitle'] => p:fresh",
        *(f"p.Heading{level} => h{level}:fresh" for level in range(1, 7)),
        *(f"p.berschrift{level} => h{level}:fresh" for level in range(1, 7)),
        *(f"p.Titre{level} => h{level}:fresh" for level in range(1, 7)),
    ]
)


def _no_image(_: Any) -> dict[str, str]:
    return {}


def properties(parts: dict[str, bytes]) -> tuple[str | None, Any]:
    """Title and date that an Office file states of itself."""
    from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]  # no types

    root = parsed(parts[_CORE]) if _CORE in parts else None
    if root is None:
        return None, None
    texts = {etree.QName(child).localname: child.text for child in root if isinstance(child.tag, str)}
    title = one_line(texts.get("title") or "") or None
    return title, iso_date(texts.get("modified")) or iso_date(texts.get("created"))
