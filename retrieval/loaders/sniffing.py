"""What bytes are, by their first ones; for zip files by their table of contents, within bounds."""

from __future__ import annotations

import io
import re
import zipfile

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype html|html|head|body)\b", re.I | re.S
)

_OASIS = re.compile(rb"mimetypeapplication/vnd\.oasis\.opendocument\.([a-z-]+)")
_OPEN = {b"text": "odt", b"spreadsheet": "ods", b"presentation": "odp"}

_SAVE_PDF = "Save it as PDF or .docx."
_PICTURES = (
    (b"\x89PNG\r\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
)
_BINARIES = (
    (b"GIF8", "a GIF image", "Save it as PNG or PDF."),
    (b"{\\rtf", "an RTF document", "Save it as .docx."),
    (b"%!PS", "a PostScript document", "Save it as PDF."),
    (b"\x1f\x8b", "a gzip archive", "Unpack it first."),
    (b"BZh", "a bzip2 archive", "Unpack it first."),
    (b"7z\xbc\xaf", "a 7z archive", "Unpack it first."),
    (b"Rar!", "a RAR archive", "Unpack it first."),
    (b"\x7fELF", "a program", ""),
    (b"MZ\x90\0", "a program", ""),
    (b"SQLite format 3\0", "a database", ""),
)
_ZIPPED = {
    "opendocument": ("an OpenDocument file", _SAVE_PDF),
    "zip": ("a zip archive", "Unpack it first."),
}


def is_pdf(data: bytes) -> bool:
    """Readers accept up to 1,024 bytes before the mark; web servers and mail gateways put them there."""
    return data.startswith(b"%PDF-") or (b"%PDF-" in data[:1024] and not data.lstrip().startswith(b"<"))


def picture_type(data: bytes) -> str | None:
    """The media type of a picture that OCR can read."""
    return next((kind for magic, kind in _PICTURES if data.startswith(magic)), None)


def is_html(data: bytes) -> bool:
    return _HTML.match(data[:4096]) is not None


def kind_of_binary(data: bytes) -> tuple[str, str] | None:
    """What a known binary is and what to do about it; None for text and for what is not known."""
    if data.startswith(_OLE):
        return _ole(data)
    container = container_format(data)
    if container is not None:
        return _ZIPPED.get(container, _ZIPPED["zip"])
    return next(((name, advice) for magic, name, advice in _BINARIES if data.startswith(magic)), None)


def container_format(data: bytes) -> str | None:
    """docx, pptx, xlsx, epub, odt, ods, odp, other opendocument, or zip; None for no zip file. Unpacks nothing."""
    if not data.startswith(b"PK\x03\x04"):
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError, OverflowError):
        return "docx" if b"word/" in data[:4096] else "zip"  # cut short: let the reader say so
    return _by_members(names, data)


def _by_members(names: set[str], data: bytes) -> str:
    for folder, kind in (("word/", "docx"), ("ppt/", "pptx"), ("xl/", "xlsx")):
        if "[Content_Types].xml" in names and any(name.startswith(folder) for name in names):
            return kind
    if b"mimetypeapplication/epub" in data[:200]:
        return "epub"
    found = _OASIS.search(data, 0, 200)
    return _OPEN.get(found.group(1), "opendocument") if found else "zip"


def _ole(data: bytes) -> tuple[str, str]:
    """Old Office files, and new ones under a password, are compound files; stream names are UTF-16 in them."""
    if "EncryptedPackage".encode("utf-16-le") in data:
        return "a password-protected Office document", "Remove the password and take it in again."
    if "WordDocument".encode("utf-16-le") in data:
        return "a Word 97-2003 document (.doc)", "Save it as .docx."
    if "PowerPoint Document".encode("utf-16-le") in data:
        return "a PowerPoint 97-2003 presentation (.ppt)", "Save it as .pptx."
    return "an Office 97-2003 or Outlook file", _SAVE_PDF
