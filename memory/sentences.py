"""Sentences of a stretch of text, with their exact places, and whether they state something."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SHORTEST, LONGEST = 12, 600  # characters of a sentence that may be a fact

_FENCE = re.compile(r"^[ \t]*(?:```|~~~)")
_ITEM = re.compile(r"[ \t]*(?:[-*•+]|\d{1,3}[.)])[ \t]+")
_HEADING = re.compile(r"[ \t]*#{1,6}[ \t]")
_END = re.compile(r"(?:[.!?…]+[\"'”’)\]]*(?=\s+[\"“'(\[`]*[^\W_a-z]|\s*$))|[。！？]")
_ABBREVIATED = re.compile(
    r"(?:\b(?:[A-Z]|St|Dr|Mr|Mrs|Ms|Prof|Jr|Sr|vs|etc|e\.g|i\.e|cf|No|Nos|Vol|Fig|approx|ca|c|b|d)|\.[a-zA-Z])\.$"
)
_CODE_MARKS = re.compile(r"[{}()\[\];=<>|&$\\/]")
_SPACED = re.compile(r"\s*(.*\S)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Sentence:
    """`text` is exactly the document's [start, end)."""

    text: str
    start: int
    end: int

    @property
    def states(self) -> bool:
        """Whether it may be a fact: a sentence of readable length that is no question and no code."""
        text = self.text
        if not SHORTEST <= len(text) <= LONGEST or text.rstrip("\"'”’) ").endswith(("?", "？")):
            return False
        return text.count(" ") >= 2 and len(_CODE_MARKS.findall(text)) * 12 < len(text)


def sentences(text: str, start: int, end: int, headings: Sequence[tuple[int, int, str]] = ()) -> Iterator[Sentence]:
    """Those of text[start:end], in order. Headings, tables and fenced or indented code are passed over."""
    starts = [heading[0] for heading in headings]
    for block_start, block_end in _blocks(text, start, end, starts):
        yield from _sentences(text, block_start, block_end)


def _blocks(text: str, start: int, end: int, headings: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Paragraphs and list items."""
    fenced = False
    begin: int | None = None
    at = start
    while at < end:
        stop = text.find("\n", at, end)
        stop = end if stop < 0 else stop
        line = text[at:stop]
        fence = _FENCE.match(line)
        item = _ITEM.match(line)
        skipped = fenced or fence or _passed_over(line, begin is None) or _is_heading(at, stop, headings)
        if begin is not None and (skipped or item):
            yield begin, at
            begin = None
        if fence:
            fenced = not fenced
        if not skipped and begin is None:
            begin = at + (item.end() if item else 0)
        at = stop + 1
    if begin is not None:
        yield begin, end


def _passed_over(line: str, first: bool) -> bool:
    stripped = line.strip()
    if not stripped or _HEADING.match(line) or stripped.count("|") > 1:
        return True
    return first and line.startswith(("    ", "\t")) and not _ITEM.match(line)  # an indented block is code


def _is_heading(start: int, stop: int, headings: Sequence[int]) -> bool:
    index = bisect_left(headings, start)
    return index < len(headings) and headings[index] < max(stop, start + 1)


def _sentences(text: str, start: int, end: int) -> Iterator[Sentence]:
    begin = start
    for match in _END.finditer(text, start, end):
        if match.group().startswith(".") and _ABBREVIATED.search(
            text, max(begin, match.start() - 8), match.start() + 1
        ):
            continue
        yield from _sentence(text, begin, match.end())
        begin = match.end()
    yield from _sentence(text, begin, end)


def _sentence(text: str, start: int, end: int) -> Iterator[Sentence]:
    found = _SPACED.match(text, start, end)
    if found:
        yield Sentence(found.group(1), found.start(1), found.end(1))
