"""Text -> sentences, list items, table rows and code blocks with exact spans. Several languages, no model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Kind = Literal["prose", "item", "row", "code", "heading"]

LONGEST = 700  # code points; a "sentence" beyond that is cut at white space

# Abbreviations that never end a sentence, without their last dot.
_NEVER_TEXT = """
mr mrs ms dr prof st mt fig figs no nos vol vols pp p ch sec eq ref refs cf e.g i.e eg ie vs viz approx ca al gen
col sgt capt lt cmdr adm rev hon gov sen rep pres dept univ assn bros ed eds trans resp incl excl max min z.b bzw
usw d.h u.a vgl nr abs str bspw ggf evtl sog mme mlle p.ex sr sra srta ud uds ej núm
"""
_NEVER = frozenset(_NEVER_TEXT.split())
# Abbreviations that may: then the next word decides.
_MAYBE_TEXT = """
etc inc ltd co corp jr sr a.m p.m u.s u.k u.n d.c b.c a.d ph.d m.d b.a m.a
"""
_MAYBE = frozenset(_MAYBE_TEXT.split())
_STARTERS_TEXT = """
the a an it its he she they we you i in on at this that these those there when while however but and as after before
for if his her their our since although because during by with from to der die das es er sie le la les il elle el
los las
"""
_STARTERS = frozenset(_STARTERS_TEXT.split())
_END = re.compile(r"[.!?…؟।]+[\"'”’»)\]*_`]*(?=\s|$)|[。！？｡]+[\"”’」』）]*")
_LAST_WORD = re.compile(r"[^\s(\[\"'“‘]+$")
_NEXT = re.compile(r"\s*[\"'“‘«(\[*_`]*(\w+)?")
_INITIALS = re.compile(r"^(?:[A-ZÀ-Þ]\.)*[A-ZÀ-Þ]$")

_FENCE = re.compile(r"^\s*(```|~~~)")
_HEADING = re.compile(r"^\s{0,3}#{1,6}\s+\S")
_ITEM = re.compile(r"^\s*(?:[-*+•‣–]|\(?\d{1,3}[.)]|[a-z][.)])\s+(?=\S)")
_RULE = re.compile(r"^[\s|:+=_*-]+$")
_ROW = re.compile(r"^\s*\|.*\||^[^|\n]+(?:\s\|\s[^|\n]+){1,}")


@dataclass(frozen=True, slots=True)
class Sentence:
    """`text[start:end]` of the text it was found in. `header` is a table's first row, for its other rows."""

    start: int
    end: int
    kind: Kind = "prose"
    header: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class _Line:
    start: int
    end: int
    text: str


def sentences(text: str) -> list[Sentence]:
    """In order, never overlapping. Headings are returned as such; blank lines and rules are not."""
    return list(_sentences(text))


@lru_cache(maxsize=512)  # whoever judges, writes and verifies reads the same passages
def _sentences(text: str) -> tuple[Sentence, ...]:
    return tuple(sentence for sentence in _blocks(text) if sentence.end > sentence.start)


def _blocks(text: str) -> Iterator[Sentence]:
    lines = list(_lines(text))
    i = 0
    while i < len(lines):
        line = lines[i]
        if not line.text.strip() or _RULE.match(line.text):
            i += 1
        elif _FENCE.match(line.text):
            i, found = _code(lines, i)
            yield from found
        elif _HEADING.match(line.text):
            yield _trimmed(text, line.start, line.end, "heading")
            i += 1
        elif _ROW.match(line.text):
            i, found = _table(text, lines, i)
            yield from found
        else:
            i, found = _paragraph(text, lines, i)
            yield from found


def _lines(text: str) -> Iterator[_Line]:
    start = 0
    for part in text.splitlines(keepends=True):
        yield _Line(start, start + len(part.rstrip("\r\n")), part.rstrip("\r\n"))
        start += len(part)


def _code(lines: list[_Line], i: int) -> tuple[int, list[Sentence]]:
    end = i + 1
    while end < len(lines) and not _FENCE.match(lines[end].text):
        end += 1
    inner = lines[i + 1 : end]
    if not inner:
        return end + 1, []
    start, stop = inner[0].start, inner[-1].end
    return end + 1, [Sentence(start, min(stop, start + LONGEST), "code")]


def _table(text: str, lines: list[_Line], i: int) -> tuple[int, list[Sentence]]:
    rows: list[_Line] = []
    ruled = False
    while i < len(lines) and lines[i].text.strip():
        if _RULE.match(lines[i].text):
            ruled = ruled or len(rows) == 1
        elif _ROW.match(lines[i].text):
            rows.append(lines[i])
        else:
            break
        i += 1
    header = (rows[0].start, rows[0].end) if ruled and len(rows) > 1 else None
    body = rows[1:] if header else rows
    return i, [_trimmed(text, row.start, min(row.end, row.start + LONGEST), "row", header) for row in body]


def _paragraph(text: str, lines: list[_Line], i: int) -> tuple[int, list[Sentence]]:
    """Lines that belong together; a list item begins a paragraph of its own."""
    first = lines[i]
    bullet = _ITEM.match(first.text)
    start = first.start + (bullet.end() if bullet else 0)
    last = i
    while last + 1 < len(lines) and _continues(lines[last], lines[last + 1]):
        last += 1
    end = lines[last].end
    if not bullet and last == i and _crumb(first, lines[i + 1] if i + 1 < len(lines) else None):
        return i + 1, [_trimmed(text, start, end, "heading")]
    kind: Kind = "item" if bullet else "prose"
    return last + 1, list(_prose(text, start, end, kind))


def _continues(line: _Line, following: _Line) -> bool:
    """Whether `following` is the same paragraph, wrapped: not a new block, and the line was full or ran on."""
    content = following.text.strip()
    if not content or _ITEM.match(following.text) or _HEADING.match(following.text):
        return False
    if _FENCE.match(following.text) or _ROW.match(following.text) or _RULE.match(following.text):
        return False
    return len(line.text) >= 45 or content[0].islower() or line.text.rstrip().endswith((",", ";", "-"))


def _crumb(line: _Line, following: _Line | None) -> bool:
    """A short line without end: a heading that lost its mark, a menu entry, a label."""
    content = line.text.strip()
    if content.endswith((".", "!", "?", ":", ";", "。", "！", "？", "…", ")", '"', "”", "`")) or len(content) > 60:
        return False
    return following is not None and len(content.split()) <= 7 and not any(map(str.isdigit, content))


def _prose(text: str, start: int, end: int, kind: Kind) -> Iterator[Sentence]:
    begin = start
    for match in _END.finditer(text, start, end):
        if _ends_here(text, begin, match, end):
            yield from _bounded(text, begin, match.end(), kind)
            begin = match.end()
    yield from _bounded(text, begin, end, kind)


def _ends_here(text: str, begin: int, match: re.Match[str], end: int) -> bool:
    if match.group()[0] not in ".!?…":
        return True
    following = _NEXT.match(text, match.end(), end)
    word = following.group(1) if following else None
    if word and word[0].islower():
        return False
    if match.group()[0] != ".":
        return True
    before = _LAST_WORD.search(text, begin, match.start())
    last = before.group().strip("*_`") if before else ""
    if last.casefold() in _NEVER:
        return False
    if last.casefold() in _MAYBE or _INITIALS.match(last):
        return word is None or word.casefold() in _STARTERS
    return True


def _bounded(text: str, start: int, end: int, kind: Kind) -> Iterator[Sentence]:
    while end - start > LONGEST:
        cut = max(text.rfind(" ", start + LONGEST // 2, start + LONGEST), text.rfind("\n", start, start + LONGEST))
        cut = cut if cut > start else start + LONGEST
        yield _trimmed(text, start, cut, kind)
        start = cut
    yield _trimmed(text, start, end, kind)


def _trimmed(text: str, start: int, end: int, kind: Kind, header: tuple[int, int] | None = None) -> Sentence:
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip())
    return Sentence(start + left, max(start + left, start + len(piece.rstrip())), kind, header)
