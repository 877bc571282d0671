"""One form of text for every format, so that spans, search and display agree.

Newlines are "\\n". Text is in Unicode's composed form (NFC): PDFs and macOS often write é as e + accent, which no
query would match; spans count in what this gives, never in the original bytes. Control characters, NUL, lone
surrogates, soft hyphens and byte-order marks go; no-break spaces become spaces.
"""

from __future__ import annotations

import re
import unicodedata

_NEWLINES = re.compile("\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_DROPPED = re.compile(
    "[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\xad\u200b\u2060\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f]")
_TRAILING = re.compile(r"(?<![ \t])[ \t]+(?=\n)")
_BLANK_LINES = re.compile(r"\n{4,}")
_RUNS = re.compile(r"\s+")


def clean(text: str) -> str:
    """The text in the one form; its lines and indentation stay."""
    if text.isascii() and text.isprintable():
        return text
    text = _NEWLINES.sub("\n", text)
    text = _SPACES.sub(" ", _DROPPED.sub("", text))
    return _BLANK_LINES.sub("\n\n\n", _TRAILING.sub("", unicodedata.normalize("NFC", text)))


def one_line(text: str) -> str:
    """Clean, with every run of white space made one space: for headings, titles, table cells."""
    return _RUNS.sub(" ", clean(text)).strip()
