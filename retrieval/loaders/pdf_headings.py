"""Which lines of a PDF are headings, by how they are set: larger than the text, or bold where the text is not.

A PDF says nowhere what a heading is. What is taken for one in error only parts two paragraphs; what is missed stays
glued to the paragraph below it. So a line in doubt is one when a reader would take it for one, and never in the midst
of a sentence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from retrieval.loaders.pdf_lines import Line

LARGER = 1.12  # than the text
LONGEST = 200  # characters
MOST_LINES = 3  # of one heading
REPEATED = 3  # a line on so many pages is a running head
MOST = 0.4  # share of all lines: with more, size says nothing (slides, forms)

_LETTER = re.compile(r"[^\W\d_]")
_GOES_ON = re.compile(r"[,;:.]$|^[a-zß-öø-ÿ]|^(?:[•▪◦‣●–—*-]|\(?[a-zA-Z][.)])\s")
_SENTENCE_END = re.compile(r"[.!?:;。！？][\"'”’)\]]*$")


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that stand together; `level` of a heading, 0 of text."""

    lines: tuple[Line, ...]
    level: int = 0

    @property
    def text(self) -> str:
        return " ".join(line.text for line in self.lines)


def blocks(pages: Sequence[Sequence[Line]]) -> list[list[Block]]:
    """Of each page, in order."""
    body, bold = _body(pages)
    told = Counter(text for page in pages for text in {_same(line.text) for line in page})
    marked = [_marked(page, body, bold, told) for page in pages]
    count = sum(1 for page in pages for line in page if line.text)
    if sum(map(len, marked)) > MOST * count:
        return [[Block(tuple(page))] for page in pages]
    ranks = _ranks([page[place] for page, places in zip(pages, marked, strict=True) for place in places], body)
    return [list(_blocks(page, places, ranks)) for page, places in zip(pages, marked, strict=True)]


def _body(pages: Sequence[Sequence[Line]]) -> tuple[float, bool]:
    """How most of the text is set."""
    found = Counter[tuple[float, bool]]()
    for page in pages:
        for line in page:
            if line.size:
                found[_rounded(line.size), line.bold] += len(line.text)
    return found.most_common(1)[0][0] if found else (0.0, False)


def _rounded(size: float) -> float:
    return round(size * 2) / 2


def _same(text: str) -> str:
    """A running head may carry the page's number."""
    return re.sub(r"\d+", "0", text)


def _marked(page: Sequence[Line], body: float, bold: bool, told: Counter[str]) -> list[int]:
    """Places of lines that are headings."""
    found: list[int] = []
    for start, end in _runs(page):
        lines = page[start:end]
        if (
            end - start <= MOST_LINES
            and _may_be(lines)
            and not any(told[_same(line.text)] >= REPEATED for line in lines)
            and (_larger(lines[0], body) or (_bolder(lines[0], body, bold) and _stands_alone(page, start, end)))
        ):
            found.extend(range(start, end))
    return found


def _runs(page: Sequence[Line]) -> Iterator[tuple[int, int]]:
    """[start, end) of lines set alike that follow each other."""
    start = 0
    for end in range(1, len(page) + 1):
        if end == len(page) or not page[end].text or not page[start].text or not _alike(page[start], page[end]):
            if page[start].text:
                yield start, end
            start = end


def _alike(one: Line, other: Line) -> bool:
    return one.bold == other.bold and abs(one.size - other.size) < 0.5


def _may_be(lines: Sequence[Line]) -> bool:
    text = " ".join(line.text for line in lines)
    letters = len(_LETTER.findall(text))
    return len(text) <= LONGEST and letters >= 3 and 2 * letters >= len(text.replace(" ", ""))


def _larger(line: Line, body: float) -> bool:
    return 0 < body * LARGER <= line.size


def _bolder(line: Line, body: float, bold: bool) -> bool:
    return line.bold and not bold and line.size > body - 1


def _stands_alone(page: Sequence[Line], start: int, end: int) -> bool:
    """Neither within a sentence nor a row of bold cells: bold words are also what is stressed."""
    before = page[start - 1].text if start else ""
    ended = not before or _SENTENCE_END.search(before) is not None or len(before) < 0.6 * len(page[start].text)
    return ended and end < len(page) and not any(_GOES_ON.search(line.text) for line in page[start:end])


def _ranks(headings: Sequence[Line], body: float) -> dict[float, int]:
    """Size -> level: the largest is 1; bold ones of the text's size come last."""
    sizes = sorted({max(_rounded(line.size), body) for line in headings}, reverse=True)
    return {size: min(level, 6) for level, size in enumerate(sizes, 1)} | {0.0: min(len(sizes), 6)}


def _blocks(page: Sequence[Line], places: Sequence[int], ranks: dict[float, int]) -> Iterator[Block]:
    headings, lines = set(places), list[Line]()
    body = min((size for size in ranks if size), default=0.0)
    for place, line in enumerate(page):
        following = place - 1 in headings and bool(lines) and _alike(lines[-1], line)
        if lines and (place in headings or place - 1 in headings) and not (place in headings and following):
            yield _block(lines, place - 1 in headings, ranks, body)
            lines = []
        lines.append(line)
    if lines:
        yield _block(lines, len(page) - 1 in headings, ranks, body)


def _block(lines: Sequence[Line], heading: bool, ranks: dict[float, int], body: float) -> Block:
    level = ranks.get(max(_rounded(lines[0].size), body), max(ranks.values())) if heading else 0
    return Block(tuple(lines), level)
