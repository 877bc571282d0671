"""Text -> chunks that respect structure, with exact spans.

The text is cut into atoms (sentences, lines, rows; long ones between words), then one pass of dynamic programming
chooses the breaks: sizes near the aim, breaks at the strongest boundaries, headings with what follows them.
Tokens are estimated as UTF-8 bytes / 4, which holds within a fifth for the tokenizers in use and costs nothing.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from aegis.scope import Span
from retrieval.loaders.document import LoadedDocument

BYTES_PER_TOKEN = 4
MAX_OVER = 1.25  # a chunk may exceed the aim by this factor where that saves a bad break

# What a break before an atom costs, by the boundary there; what keeping a boundary inside a chunk costs.
_FORCED, _SENTENCE, _LINE, _PARAGRAPH, _PAGE, _HEADING = range(6)
_BREAK = (1.0, 0.3, 0.2, 0.05, 0.05, 0.0)
_INSIDE = (0.0, 0.0, 0.0, 0.0, 0.05, 0.4)
_AFTER_HEADING = 3.0
_MOST_ATOMS = 64  # in one chunk
_PER_CHUNK = 0.15  # so that two half-full chunks cost more than a full one

_BOUNDARY = re.compile(r"\n+|(?<=[。！？])(?![\n”」』）])|(?<![.!?…])[.!?…]+[\"'”’)\]]*[ \t]+")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|al|Mr|Mrs|Ms|Dr|Prof|St|No|Nos|Fig|Figs|Eq|Sec|Vol|pp|approx|Inc|Ltd|Co|Corp|[A-Z]))\.$"
)
_JOINERS = frozenset("\u200d\ufe0e\ufe0f\u20e3")


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk before it has an id. `text == document.text[span.start:span.end]`; heading is the path, ' > ' between."""

    span: Span
    text: str
    page: str | None
    heading: str | None


@dataclass(frozen=True, slots=True)
class _Atom:
    """Never broken further. `bytes` of its text; `boundary` is what stands before it."""

    start: int
    end: int
    bytes: int
    boundary: int
    heading: bool


def split(document: LoadedDocument, tokens: int) -> list[Piece]:
    """Chunks in order, none blank, together covering all text that is not blank; at most 1.25 x `tokens` each."""
    places = _Places(document)
    aim = tokens * BYTES_PER_TOKEN
    atoms = list(_grown(_atoms(document, aim), aim // 32))
    return [
        Piece(Span(start, end), document.text[start:end], places.page(start), places.heading(start))
        for start, end in _packed(atoms, aim)
    ]


class _Places:
    """Page label and heading path of a position."""

    def __init__(self, document: LoadedDocument) -> None:
        self._pages = [start for start, _ in document.pages]
        self._labels = [label for _, label in document.pages]
        self._headings = [start for start, _, _ in document.headings]
        self._paths = list(_paths(document))

    def page(self, position: int) -> str | None:
        index = bisect_right(self._pages, position)
        return self._labels[index - 1] if index else None

    def heading(self, position: int) -> str | None:
        index = bisect_right(self._headings, position)
        return (self._paths[index - 1] or None) if index else None


def _paths(document: LoadedDocument) -> Iterator[str]:
    """The path at each heading; without the document's own title, which every chunk carries anyway."""
    open_headings = list[tuple[int, str]]()
    for _, level, heading in document.headings:
        while open_headings and open_headings[-1][0] >= level:
            open_headings.pop()
        open_headings.append((level, heading))
        path = [name for _, name in open_headings]
        yield " > ".join(path[1:] if path[0] == document.title else path)


def _atoms(document: LoadedDocument, limit: int) -> Iterator[_Atom]:
    headings = {start for start, _, _ in document.headings}
    pages = {start for start, _ in document.pages}
    for start, end, boundary in _sentences(document.text, sorted(headings | pages)):
        if start in headings:
            boundary = _HEADING
        elif start in pages:
            boundary = _PAGE
        yield from _fitting(document.text, start, end, boundary, start in headings, limit)


def _grown(atoms: Iterable[_Atom], least: int) -> Iterator[_Atom]:
    """Atoms of fewer than `least` bytes go with the next one ("1. Yes. No."): a bound on their number."""
    held: _Atom | None = None
    for atom in atoms:
        if held is None:
            held = atom
        elif held.bytes < least and not held.heading and atom.boundary < _PAGE and atom.start - held.end < least:
            size = held.bytes + atom.start - held.end + atom.bytes
            held = _Atom(held.start, atom.end, size, held.boundary, False)
        else:
            yield held
            held = atom
    if held is not None:
        yield held


def _sentences(text: str, fixed: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """(start, end, boundary before) of every sentence, line or row that is not blank."""
    cuts = sorted([*_cuts(text), *((position, _PARAGRAPH) for position in fixed), (len(text), _PARAGRAPH)])
    start, before = 0, _PARAGRAPH
    for position, boundary in cuts:
        if position <= start:
            before = max(before, boundary) if position == start else before
            continue
        trimmed = _trimmed(text, start, position)
        if trimmed is not None:
            yield (*trimmed, before)
            before = boundary
        else:
            before = max(before, boundary)
        start = position


def _cuts(text: str) -> Iterator[tuple[int, int]]:
    for match in _BOUNDARY.finditer(text):
        mark = match.group()
        if mark.startswith("\n"):
            yield match.end(), _PARAGRAPH if len(mark) > 1 else _LINE
        elif not _ABBREVIATION.search(text, max(0, match.start() - 8), match.start() + 1):
            yield match.end(), _SENTENCE


def _trimmed(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Without blanks around; None if nothing is left."""
    part = text[start:end]
    stripped = part.strip()
    if not stripped:
        return None
    start += len(part) - len(part.lstrip())
    return start, start + len(stripped)


def _fitting(text: str, start: int, end: int, boundary: int, heading: bool, limit: int) -> Iterator[_Atom]:
    """The sentence, or as many parts as it takes to stay within `limit` bytes."""
    while start < end:
        part = text[start : min(end, start + limit)]
        size = _size(part)
        stop = start + len(part)
        if stop < end or size > limit:
            stop = _cut(text, start, start + _fit(part, limit))
            size = _size(text[start:stop])
        yield _Atom(start, stop, size, boundary, heading)
        start = stop
        while start < end and text[start].isspace():
            start += 1
        boundary, heading = _FORCED, False


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _fit(part: str, limit: int) -> int:
    """How many characters of `part` take at most `limit` bytes; at least one."""
    return max(1, len(part.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")))


def _cut(text: str, start: int, stop: int) -> int:
    """The last place to cut in (start, stop]: between words, else between graphemes, else where it must be."""
    for position in range(stop, start + (stop - start) // 2, -1):
        if position == len(text) or text[position].isspace():
            return position
    for position in range(stop, max(start, stop - 64), -1):
        if not _joined(text, position):
            return position
    return stop


def _joined(text: str, position: int) -> bool:
    """Whether the characters around `position` belong to one grapheme (marks, emoji sequences, flags)."""
    if position >= len(text):
        return False
    after, before = text[position], text[position - 1]
    if after in _JOINERS or before == "\u200d" or "\U0001f3fb" <= after <= "\U0001f3ff":
        return True
    if "\U0001f1e6" <= before <= "\U0001f1ff" and "\U0001f1e6" <= after <= "\U0001f1ff":
        return True
    return unicodedata.category(after) in ("Mn", "Mc", "Me")


def _packed(atoms: Sequence[_Atom], aim: int) -> Iterator[tuple[int, int]]:
    """Spans of the chunks of least total cost. `best[i]` is the least cost of the atoms before i."""
    best, previous = [0.0] * (len(atoms) + 1), [0] * (len(atoms) + 1)
    for stop in range(1, len(atoms) + 1):
        best[stop], previous[stop] = _best_start(atoms, stop, aim, best)
    chain, stop = list[tuple[int, int]](), len(atoms)
    while stop:
        chain.append((atoms[previous[stop]].start, atoms[stop - 1].end))
        stop = previous[stop]
    yield from reversed(chain)


def _best_start(atoms: Sequence[_Atom], stop: int, aim: int, best: Sequence[float]) -> tuple[float, int]:
    """The cheapest last chunk that ends before atom `stop`: (cost with all before it, its first atom)."""
    least, chosen = float("inf"), stop - 1
    inside, size, end = 0.0, 0, atoms[stop - 1].end
    for first in range(stop - 1, max(-1, stop - 1 - _MOST_ATOMS), -1):
        atom = atoms[first]
        size += atom.bytes + end - atom.end
        end = atom.start
        if size > MAX_OVER * aim and first < stop - 1:
            break
        broken = _BREAK[atom.boundary] + (_AFTER_HEADING if first and atoms[first - 1].heading else 0.0)
        lack = 1 - size / aim
        cost = best[first] + _PER_CHUNK + lack * lack + broken + inside
        if cost < least:
            least, chosen = cost, first
        inside += _INSIDE[atom.boundary]
    return least, chosen
