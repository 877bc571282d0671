"""Answers without a model: the sentences of the passages that answer the question, each with its marker."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from inference import Passage, Piece, WriteRequest
from inference.questions import Asked, asked, fit, names
from inference.sentences import Sentence, sentences
from inference.words import content_words, coverage, rarity

Embed = Callable[[Sequence[str]], Awaitable[NDArray[np.float32]]]
"""Texts -> unit vectors, one row each."""
Closer = Callable[[str, Sequence[str]], list[float]]
"""A question, and texts beside it -> how near each is in meaning, word for word, in [0, 1]."""

PASSAGES = 8  # more are not read: the answer stands near the top or nowhere
COMPARED = 24  # sentences that the embedder sees, best by words first
PREVIOUS = 0.3  # share of what the sentence before (or the title) adds to the coverage
COSINE = 0.5
CLOSER = 0.3  # of it; .2 to .5 are better than none ("study" meets "graduated")
READ_CHARS = 2000  # of a question, when its meaning is compared
PASSAGE = 0.5
WORTH = 0.6  # a further sentence must have this share of the best one's score
AT_ONCE = 32  # words written before others get their turn
LIST_LIMIT = 700  # code points of a list that is quoted with the sentence that announces it

_MARK = re.compile(r"\[(?:\d{1,3}|citation needed|\^\w+)\]")
_IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
_LINK = re.compile(r"\[([^\]]+)\]\([^)\s]*(?:\s+\"[^\"]*\")?\)")
_PIECES = re.compile(r"\s*\S+\s*?(?=\s|$)|\s+$")
_EMPHASIS = re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1")
_LEANS = re.compile(
    r"^(?:It|Its|They|Their|This|These|That|Those|He|She|His|Her|Such|Then|Therefore|Otherwise|However|Both|Er|Sie|Es|"
    r"Dies\w*|Il|Elle|Cela)\b|\b(?:therefore|thus|hence)\b"
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence that could answer. `start` and `end` count in its passage's text."""

    passage: Passage
    order: int
    start: int
    end: int
    kind: str
    words: frozenset[str]
    before: frozenset[str]
    titled: frozenset[str]
    header: tuple[int, int] | None = None

    @property
    def text(self) -> str:
        return self.passage.text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Ranked:
    candidate: Candidate
    score: float


class ExtractiveWriter:
    """Writer port without a model. Holds nothing but the embedder, so one serves every run at once."""

    name = "extractive"

    def __init__(self, embed: Embed, closer: Closer | None = None) -> None:
        self._embed = embed
        self._closer = closer

    async def write(self, request: WriteRequest) -> AsyncGenerator[Piece]:
        ranked = await rank(request.question, request.passages, self._embed, self._closer)
        answer = compose(choose(ranked, request.max_sentences, names(request.question)))
        for number, piece in enumerate(_PIECES.findall(answer)):
            yield Piece(piece, self.name)
            if number % AT_ONCE == 0:  # a turn of the event loop costs more than many words
                await asyncio.sleep(0)  # others get theirs; a closed generator stops here
        yield Piece("", self.name)


async def rank(question: str, passages: Sequence[Passage], embed: Embed, closer: Closer | None = None) -> list[Ranked]:
    """Every sentence of the first passages with its score, best first."""
    wanted = asked(question)
    found = [c for passage in passages[:PASSAGES] for c in candidates(passage)]
    if not found or not wanted.words:
        return []
    idf = rarity(c.words for c in found)
    tops = _passage_scores(passages[:PASSAGES])
    question = question[:READ_CHARS]
    ranked = sorted((Ranked(c, _by_words(wanted, c, idf, tops)) for c in found), key=_best_first)
    await asyncio.sleep(0)  # some milliseconds: others get their turn
    return sorted(await _by_meaning(question, ranked, embed, closer), key=_best_first)


def candidates(passage: Passage) -> list[Candidate]:
    """Sentences of one passage; one that announces a list takes the list along."""
    titled = frozenset(content_words(passage.title))
    title = titled | frozenset(content_words(passage.heading or ""))
    headings = {passage.title, *(passage.heading or "").split(" > ")}  # known by their layout, whatever they end with
    before = title
    found: list[Candidate] = []
    for part in _parts(passage.text):
        if part.kind not in ("heading", "lead") and passage.text[part.start : part.end] not in headings:
            place = len(found)
            found.append(
                Candidate(passage, place, part.start, part.end, part.kind, part.words, before, titled, part.header)
            )
        before = title | part.words
    return found


@dataclass(frozen=True, slots=True)
class _Part:
    start: int
    end: int
    kind: str
    words: frozenset[str]
    header: tuple[int, int] | None


@lru_cache(maxsize=1024)  # judging and writing read the same passages, and so does the next question
def _parts(text: str) -> tuple[_Part, ...]:
    parts = sentences(text)
    found: list[_Part] = []
    for i, part in enumerate(parts):
        leads = text[part.start : part.end].endswith((":", "："))
        end = _list_end(parts, i) if leads and part.kind != "heading" else part.end
        words = frozenset(content_words(text[part.start : end]))
        kind = "list" if end > part.end else "lead" if leads else part.kind
        if words:
            found.append(_Part(part.start, end, kind, words, part.header))
    return tuple(found)


def choose(ranked: Sequence[Ranked], limit: int, named: frozenset[str] = frozenset()) -> list[Candidate]:
    """The best sentence and those worth reading beside it, without saying anything twice.

    A further sentence must be about what the question names, by its own words, its title or the sentence before. One
    that leans on the sentence before ("It is the default.") brings it along, or is left out where there is no room.
    """
    places = {(item.candidate.passage.marker, item.candidate.order): item.candidate for item in ranked}
    chosen: list[Candidate] = []
    for item in ranked:
        if len(chosen) >= limit or item.score < WORTH * ranked[0].score:
            break
        before = places.get((item.candidate.passage.marker, item.candidate.order - 1))
        leans = before is not None and bool(_LEANS.search(item.candidate.text))
        wanted = [item.candidate, before] if before and leans else [item.candidate]
        missing = [c for c in wanted if not any(c is other or _repeats(c, other) for other in chosen)]
        if not chosen:
            chosen = missing[:limit]
        elif _about(item.candidate, named) and len(chosen) + len(missing) <= limit:
            chosen.extend(missing)
    return chosen


def _about(candidate: Candidate, named: frozenset[str]) -> bool:
    return not named or not named.isdisjoint(candidate.words | candidate.before)


def compose(chosen: Sequence[Candidate]) -> str:
    """Sentences joined readably: best first, neighbours in their order, items, rows and code on lines of their own."""
    parts: list[str] = []
    for candidate in _in_reading_order(chosen):
        text, block = readable(candidate)
        if text:
            parts.append(("\n\n" if block and parts else " " if parts else "") + f"{text} [{candidate.passage.marker}]")
    return "".join(parts)


def readable(candidate: Candidate) -> tuple[str, bool]:
    """The sentence without markup noise, and whether it needs a line of its own."""
    if candidate.kind == "row":
        return _row(candidate), False
    if candidate.kind == "code":
        return f"```\n{candidate.text}\n```\n", True
    if candidate.kind == "list":
        lines = [line.strip() for line in candidate.text.splitlines() if line.strip()]
        return "\n".join(_clean(line) for line in lines), True
    text = _clean(candidate.text)
    return (text if text[-1:] in ".!?…。！？:;)”\"'`" else f"{text}.") if text else "", False


def _by_words(wanted: Asked, candidate: Candidate, idf: Mapping[str, float], tops: Mapping[int, float]) -> float:
    """What the title names need not be said again: "She studied in Turin" is as good as a sentence with her name."""
    own = coverage(wanted.words, candidate.words | candidate.titled, idf)
    both = coverage(wanted.words, candidate.words | candidate.before, idf)
    score = PASSAGE * tops[candidate.passage.marker] + own + PREVIOUS * (both - own)
    return score + fit(wanted, candidate.text, candidate.passage.title, first=candidate.order == 0)


async def _by_meaning(question: str, ranked: Sequence[Ranked], embed: Embed, closer: Closer | None) -> list[Ranked]:
    """Only the head of the list is compared, and kept."""
    head = ranked[:COMPARED]
    vectors = await embed([question, *(item.candidate.text for item in head)])
    cosines = vectors[1:] @ vectors[0]
    texts = [f"{item.candidate.passage.title} {item.candidate.text}" for item in head]
    close = closer(question, texts) if closer is not None else [0.0] * len(head)
    return [
        Ranked(item.candidate, item.score + COSINE * float(cosine) + CLOSER * near)
        for item, cosine, near in zip(head, cosines, close, strict=True)
    ]


def _passage_scores(passages: Sequence[Passage]) -> dict[int, float]:
    top = max((passage.score for passage in passages), default=0.0)
    return {passage.marker: max(0.0, passage.score / top) if top > 0 else 0.0 for passage in passages}


def _best_first(item: Ranked) -> tuple[float, int, int]:
    return -item.score, item.candidate.passage.marker, item.candidate.order


def _list_end(parts: Sequence[Sentence], i: int) -> int:
    """Where the list, table or code block that sentence `i` announces ends; the sentence's own end without one."""
    end, start = parts[i].end, parts[i].start
    for part in parts[i + 1 :]:
        if part.kind not in ("item", "code") or part.end - start > LIST_LIMIT:
            break
        end = part.end
        if part.kind == "code":
            break
    return end


def _repeats(candidate: Candidate, other: Candidate) -> bool:
    if candidate.passage.marker == other.passage.marker and candidate.start < other.end and other.start < candidate.end:
        return True
    common = len(candidate.words & other.words)
    return common >= 0.8 * min(len(candidate.words), len(other.words))


def _in_reading_order(chosen: Sequence[Candidate]) -> list[Candidate]:
    """Best first, but sentences that follow each other in a passage stay together in their order."""
    left = list(chosen)
    ordered: list[Candidate] = []
    while left:
        run = [left.pop(0)]
        for candidate in [*left]:
            if any(_next_to(candidate, other) for other in run):
                run.append(candidate)
                left.remove(candidate)
        ordered.extend(sorted(run, key=lambda candidate: candidate.order))
    return ordered


def _next_to(one: Candidate, other: Candidate) -> bool:
    return one.passage.marker == other.passage.marker and abs(one.order - other.order) == 1


def _row(candidate: Candidate) -> str:
    cells = _cells(candidate.text)
    if candidate.header is None:
        return " – ".join(cell for cell in cells if cell) + "."
    names = _cells(candidate.passage.text[slice(*candidate.header)])
    named = [f"{name}: {cell}" if name else cell for name, cell in zip(names, cells, strict=False) if cell]
    return "; ".join(named) + "."


def _cells(row: str) -> list[str]:
    return [_clean(cell) for cell in row.strip().strip("|").split("|")]


def _clean(text: str) -> str:
    for pattern, kept in ((_IMAGE, ""), (_LINK, r"\1"), (_MARK, ""), (_EMPHASIS, r"\2")):
        text = pattern.sub(kept, text)
    return re.sub(r"\s+([.,;!?])(?=\s|$)", r"\1", " ".join(text.split())).lstrip("> ")
