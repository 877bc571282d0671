"""Zip files that hold documents (Office, OpenDocument, EPUB): their XML parts, within bounds."""

from __future__ import annotations

import io
import zipfile
from typing import Any

from aegis.errors import TooLarge, UnreadableDocument

MAX_UNPACKED = 200_000_000  # bytes of all parts together
MAX_PART = 60_000_000  # bytes of one XML part: parsed, it takes some twenty times as much
MAX_PARTS = 10_000
_XML = (".xml", ".rels")
_PAGES = (".xhtml", ".html", ".htm", ".opf", ".ncx")


def xml_parts(data: bytes, name: str, *, pages: bool = False) -> dict[str, bytes]:
    """The XML parts by path, after making sure that nothing in the file swells beyond bounds when unpacked.

    `name` is what the file is called in errors. With `pages` those of EPUB books too, which may have a DOCTYPE.
    Raises UnreadableDocument and TooLarge.
    """
    wanted = (*_XML, *_PAGES) if pages else _XML
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_bounds(archive.infolist(), wanted, name)
            names = [info.filename for info in archive.infolist() if info.filename.lower().endswith(wanted)]
            parts = {each: archive.read(each) for each in names}
    except RuntimeError as error:  # zipfile's word for an encrypted member
        raise UnreadableDocument(f"The {name} is protected by a password. Remove the password.") from error
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError) as error:
        raise UnreadableDocument(f"The {name} is damaged or cut short. Save it again.") from error
    forbidden = b"<!ENTITY" if pages else b"<!DOCTYPE"
    if any(forbidden in part or b"<!ENTITY" in part for part in parts.values()):
        raise UnreadableDocument(f"The {name} defines XML entities, which none needs. Save it again in its program.")
    return parts


def parsed(part: bytes) -> Any:
    """The root element, or None where nothing can be made of it. Fetches and expands nothing."""
    from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]  # no types

    parser = etree.XMLParser(resolve_entities=False, no_network=True, recover=True)
    return etree.fromstring(part, parser)


def _check_bounds(members: list[zipfile.ZipInfo], wanted: tuple[str, ...], name: str) -> None:
    """zipfile reads no more of a member than its stated size, so the stated sizes are what counts."""
    unpacked = sum(info.file_size for info in members)
    largest = max((info.file_size for info in members if info.filename.lower().endswith(wanted)), default=0)
    if unpacked > MAX_UNPACKED or largest > MAX_PART or len(members) > MAX_PARTS:
        raise TooLarge(
            f"The {name} unpacks to {unpacked:,} bytes in {len(members):,} parts; at most {MAX_UNPACKED:,} bytes "
            f"({MAX_PART:,} in one part) and {MAX_PARTS:,} parts are taken. Split it or take large images out.",
            limit=MAX_UNPACKED,
        )
