"""A document's text while it is being written, with the positions of its headings and pages."""

from __future__ import annotations

from dataclasses import dataclass, field

from aegis.errors import TooLarge
from retrieval.loaders.cleaning import clean, one_line
from retrieval.loaders.document import Reading

MAX_TEXT = 30_000_000  # code points; ten times the longest novels
MAX_HEADING = 300


@dataclass(slots=True)
class Draft:
    """Blocks are appended in reading order. Positions are exact because only cleaned text is appended."""

    parts: list[str] = field(default_factory=list[str])
    length: int = 0
    headings: list[tuple[int, int, str]] = field(default_factory=list[tuple[int, int, str]])
    pages: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    _page: str | None = None

    def add(self, text: str, gap: int = 2) -> int | None:
        """Append a block after `gap` newlines. Returns where it starts, or None if nothing of it is left."""
        text = clean(text).strip("\n").rstrip()
        if not text.strip():
            return None
        self._append("\n" * gap if self.parts else "")
        start = self.length
        if self._page is not None:
            self.pages.append((start, self._page))
            self._page = None
        self._append(text)
        return start

    def heading(self, level: int, text: str) -> None:
        line = one_line(text)
        start = self.add(line)
        if start is not None:
            self.headings.append((start, max(1, min(level, 6)), line[:MAX_HEADING]))

    def page(self, label: str) -> None:
        """What is added from now on stands on this page, slide or sheet. One without text leaves no trace."""
        self._page = label

    def take(self, reading: Reading) -> None:
        """Append what another format's reader found, its headings included."""
        start = self.add(reading.text)
        if start is not None:
            skipped = len(reading.text) - len(reading.text.lstrip("\n"))
            self.headings.extend((place - skipped + start, level, text) for place, level, text in reading.headings)

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def _append(self, text: str) -> None:
        self.length += len(text)
        if self.length > MAX_TEXT:
            raise TooLarge(
                f"The document holds more than {MAX_TEXT:,} characters of text. Split it into smaller files.",
                limit=MAX_TEXT,
            )
        self.parts.append(text)
