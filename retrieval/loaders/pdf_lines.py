"""The lines of a PDF's page as they are set: their text, size and weight."""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from retrieval.loaders.cleaning import clean

# PDFium marks a hyphen that only breaks a line with U+FFFE (older: U+0002).
_BROKEN_WORD = re.compile("(?<=[^\\W\\d_])(?:[\ufffe\x02]|[\u2010-](?=\r?\n[a-zß-öø-ÿ]))\r?\n?[ \t]*")
_LINE = re.compile(f"(?:{_BROKEN_WORD.pattern}|[^\n])+")
_VISIBLE = re.compile(r"\S")
_BOLD = re.compile(r"bold|black|heavy|demi|-medi\b|cmbx|sfbx", re.IGNORECASE)  # the last three: fonts of TeX
_FORCED_BOLD = 1 << 18  # of a font's flags
_HEAVY = 600
_NAME_BYTES = 128


@dataclass(frozen=True, slots=True)
class Line:
    """`size` in points, as the reader sees it; 0 where the line's two ends differ, or nothing is known."""

    text: str
    size: float = 0.0
    bold: bool = False


def lines_of(textpage: Any) -> list[Line]:
    """In the order of the page; blank ones stand between paragraphs where the page has them."""
    raw: str = textpage.get_text_bounded()
    return list(_lines(raw, _Setting(textpage, raw)))


def _lines(raw: str, setting: _Setting) -> Iterator[Line]:
    end = 0
    for found in _LINE.finditer(raw):
        yield from (Line("") for _ in range(raw.count("\n", end, found.start()) - 1))
        end = found.end()
        size, bold = setting.of(found.start(), end)
        for text in clean(_BROKEN_WORD.sub("", found[0].rstrip("\r"))).split("\n"):
            yield Line(text.strip(), size, bold)


class _Setting:
    """How characters of a page are set, asked of PDFium for the first and the last of a line only."""

    def __init__(self, textpage: Any, raw: str) -> None:
        import pypdfium2.raw as pdfium

        self._pdfium: Any = pdfium
        self._page = textpage
        self._raw = raw
        self._index = range(len(raw)) if len(raw) == textpage.count_chars() else _index(raw, textpage.get_text_range())

    def of(self, start: int, end: int) -> tuple[float, bool]:
        text = self._raw[start:end]
        first = _VISIBLE.search(text)
        if first is None:
            return 0.0, False
        places = start + first.start(), start + len(text.rstrip()) - 1
        sizes, weights = zip(*(self._at(place) for place in places), strict=True)
        return (sizes[0] if abs(sizes[0] - sizes[1]) < 0.5 else 0.0), all(weights)

    def _at(self, place: int) -> tuple[float, bool]:
        index = self._index[place] if place < len(self._index) else -1
        if index < 0 or self._pdfium.FPDFText_GetUnicode(self._page, index) != ord(self._raw[place]):
            return 0.0, False
        matrix = self._pdfium.FS_MATRIX()
        if not self._pdfium.FPDFText_GetMatrix(self._page, index, matrix):
            return 0.0, False
        scale = math.hypot(matrix.c, matrix.d)
        return self._pdfium.FPDFText_GetFontSize(self._page, index) * scale, self._bold(index)

    def _bold(self, index: int) -> bool:
        name, flags = ctypes.create_string_buffer(_NAME_BYTES), ctypes.c_int()
        self._pdfium.FPDFText_GetFontInfo(self._page, index, name, _NAME_BYTES, flags)
        heavy = self._pdfium.FPDFText_GetFontWeight(self._page, index) >= _HEAVY
        return heavy or bool(flags.value & _FORCED_BOLD) or _BOLD.search(name.value.decode("latin-1")) is not None


def _index(raw: str, whole: str) -> list[int]:
    """Where each character of `raw` stands in the page's whole text, which breaks lines elsewhere; as far as known."""
    found: list[int] = []
    place = 0
    for character in raw:
        while place < len(whole) and whole[place] != character and whole[place] in "\r\n":
            place += 1
        if place < len(whole) and whole[place] == character:
            found.append(place)
            place += 1
        elif character in "\r\n":
            found.append(-1)
        else:
            break
    return found
