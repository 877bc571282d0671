"""Word: mammoth turns it into HTML (headings by style, lists, tables, footnotes), which our HTML reader walks."""

from __future__ import annotations

import io
import zipfile
from typing import Any

from aegis.errors import TooLarge, UnreadableDocument
from retrieval.loaders import html
from retrieval.loaders.cleaning import one_line
from retrieval.loaders.dates import iso_date
from retrieval.loaders.document import Reading

MAX_UNPACKED = 200_000_000  # bytes of all parts together
MAX_PART = 60_000_000  # bytes of one XML part: parsed, it takes some twenty times as much
MAX_PARTS = 10_000
_CORE = "docProps/core.xml"


def read(data: bytes) -> Reading:
    parts = _checked_parts(data)
    from mammoth import convert_to_html
    from mammoth.images import img_element

    converted = convert_to_html(io.BytesIO(data), convert_image=img_element(_no_image), style_map=_STYLES)
    found = html.read_text(converted.value)
    title, dated = _properties(parts)
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


def _checked_parts(data: bytes) -> dict[str, bytes]:
    """The XML parts, after making sure that nothing in the file swells beyond bounds when unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_bounds(archive.infolist())
            names = [info.filename for info in archive.infolist() if info.filename.endswith((".xml", ".rels"))]
            parts = {name: archive.read(name) for name in names}
    except RuntimeError as error:  # zipfile's word for an encrypted member
        raise UnreadableDocument("The Word file is protected by a password. Remove the password.") from error
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError) as error:
        raise UnreadableDocument("The Word file is damaged or cut short. Save it again.") from error
    if any(b"<!DOCTYPE" in part or b"<!ENTITY" in part for part in parts.values()):
        raise UnreadableDocument("The Word file defines XML entities, which no Word file needs. Save it again in Word.")
    return parts


def _check_bounds(members: list[zipfile.ZipInfo]) -> None:
    """zipfile reads no more of a member than its stated size, so the stated sizes are what counts."""
    unpacked = sum(info.file_size for info in members)
    largest = max((info.file_size for info in members if info.filename.endswith(".xml")), default=0)
    if unpacked > MAX_UNPACKED or largest > MAX_PART or len(members) > MAX_PARTS:
        raise TooLarge(
            f"The Word file unpacks to {unpacked:,} bytes in {len(members):,} parts; at most {MAX_UNPACKED:,} bytes "
            f"({MAX_PART:,} in one part) and {MAX_PARTS:,} parts are taken. Split it or take large images out.",
            limit=MAX_UNPACKED,
        )


def _properties(parts: dict[str, bytes]) -> tuple[str | None, Any]:
    from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]  # no types

    if _CORE not in parts:
        return None, None
    parser = etree.XMLParser(resolve_entities=False, no_network=True, recover=True)
    root = etree.fromstring(parts[_CORE], parser)
    if root is None:
        return None, None
    texts = {etree.QName(child).localname: child.text for child in root if isinstance(child.tag, str)}
    title = one_line(texts.get("title") or "") or None
    return title, iso_date(texts.get("modified")) or iso_date(texts.get("created"))
