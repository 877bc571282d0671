"""How good a text is: what a reader of an answer should be warned of, and what must not be indexed at all."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from aegis.errors import UnreadableDocument
from retrieval.loaders.document import Reading
from retrieval.loaders.ocr import INSTALL

_WARN_UNPRINTABLE = 0.02
_REFUSE_UNPRINTABLE = 0.3
_WARN_REPEATED = 0.2
_SAMPLE = 200_000
# Rulers, dot leaders and indentation repeat for good reason.
_REPEATED = re.compile(r"([^\s\-=_.*#~+|])\1{9,}|(\(cid:\d+\)\s*){4,}")
_STRANGE = {"Cn", "Co", "Cs"}  # unassigned, private use, surrogates: fonts without a character map


def judged(reading: Reading) -> Mapping[str, Any]:
    """Empty when nothing is wrong. Raises UnreadableDocument where there is no text worth indexing."""
    _refuse_nothing(reading)
    sample = reading.text[:_SAMPLE]
    unprintable = sum(map(_strange, sample)) / len(sample)
    repeated = sum(len(match.group()) for match in _REPEATED.finditer(sample)) / len(sample)
    if unprintable > _REFUSE_UNPRINTABLE:
        raise UnreadableDocument(
            f"{unprintable:.0%} of the text is unprintable: its fonts do not say which characters they show. "
            "Export it again with embedded Unicode text, or run OCR over it."
        )
    return _warnings(reading, unprintable, repeated)


def _refuse_nothing(reading: Reading) -> None:
    if reading.text.strip():
        return
    if reading.page_count:
        why = ", not even by OCR" if reading.by_ocr else f": it seems to be a scan. OCR reads scanned PDFs: {INSTALL}"
        raise UnreadableDocument(f"None of its {reading.page_count} pages holds text{why}.", pages=reading.page_count)
    raise UnreadableDocument("The file holds no text.")


def _warnings(reading: Reading, unprintable: float, repeated: float) -> dict[str, Any]:
    sentences = list[str]()
    if reading.by_ocr:
        sentences.append("the text was read from pictures (OCR) and may hold errors")
    if reading.empty_pages:
        sentences.append(f"{reading.empty_pages} of {reading.page_count} pages have no text")
    if unprintable > _WARN_UNPRINTABLE:
        sentences.append(f"{unprintable:.0%} of the characters are unprintable")
    if repeated > _WARN_REPEATED:
        sentences.append(f"{repeated:.0%} of the characters only repeat the one before")
    if not sentences:
        return {}
    figures: dict[str, Any] = {"warning": "; ".join(sentences)}
    if reading.page_count:
        figures |= {
            "pages": reading.page_count,
            "pages_without_text": reading.empty_pages,
            "chars_per_page": round(len(reading.text) / reading.page_count),
        }
    return figures | {"unprintable": round(unprintable, 4), "repeated": round(repeated, 4)}


def _strange(character: str) -> bool:
    return character == "\ufffd" or (character > "\x7f" and unicodedata.category(character) in _STRANGE)
