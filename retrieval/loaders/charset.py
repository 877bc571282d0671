"""Bytes -> characters, only where there is one way to read them."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

from aegis.errors import UnreadableDocument

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark starts with UTF-16's
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 200_000  # bytes shown to the detector
_CONTROLS = bytes(set(range(32)) - {7, 8, 9, 10, 11, 12, 13, 27})


def declared_by_mark(data: bytes) -> str | None:
    """The encoding that a byte-order mark names."""
    return next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)


def looks_binary(data: bytes) -> bool:
    """NUL or many control bytes near the start, and no byte-order mark that would explain them."""
    if declared_by_mark(data):
        return False
    sample = data[:8192]
    return b"\0" in sample or len(sample.translate(None, _CONTROLS)) < 0.95 * len(sample)


def decode(data: bytes, hint: str | None = None) -> str:
    """Strict: a byte-order mark, then `hint` (what the document declares), UTF-8, and what detection is sure of.

    Raises UnreadableDocument, naming the first byte that fits no reading.
    """
    if looks_binary(data):
        raise UnreadableDocument("The file is binary, not text, whatever its name says. Convert it to a text format.")
    for encoding in (declared_by_mark(data), "utf-8", hint):
        text = _strictly(data, encoding)
        if text is not None:
            return text
    return _detected(data)


def _strictly(data: bytes, encoding: str | None) -> str | None:
    if encoding is None:
        return None
    try:
        return data.decode(encoding)
    except (LookupError, UnicodeError, ValueError):
        return None


def _detected(data: bytes) -> str:
    from charset_normalizer import from_bytes

    position = _first_bad_byte(data)
    if _mostly_utf8(data):
        raise _undecodable(position, "it is UTF-8 with damaged bytes")
    start = max(0, position - _SAMPLE // 2)  # where the detector has something to see
    found = [match for match in from_bytes(data[start : start + _SAMPLE]) if match.encoding != "ascii"]
    texts = {text for match in found if (text := _strictly(data, match.encoding)) is not None and _sure(match, found)}
    if len(texts) != 1:
        names = ", ".join(sorted({match.encoding for match in found})[:4])
        raise _undecodable(position, f"it could be any of {names}" if names else "no known encoding fits")
    return texts.pop()


def _sure(match: Any, found: Sequence[Any]) -> bool:
    """Of all readings, those as clean and as much like a language as the best one."""
    best = found[0]
    return (match.chaos, -match.coherence) <= (best.chaos, -best.coherence)


def _first_bad_byte(data: bytes) -> int:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start
    return len(data)


def _mostly_utf8(data: bytes) -> bool:
    text = data.decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    return sum(not character.isascii() for character in text) - wrong > wrong


def _undecodable(position: int, why: str) -> UnreadableDocument:
    return UnreadableDocument(
        f"The text is not valid UTF-8 (byte {position:,}) and {why}. Save it as UTF-8.", position=position
    )
