"""Names in texts: where they stand, and the key under which they are looked up. Pure and quick; no model.

A span of capitalised words is a candidate for a name, and so is each of its parts. Which of them is a name, the
look-up decides (`memory/mentions.py`), so a passage links to names that came later, too.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

MAX_WORDS = 8
MAX_KEY = 200

_WORD = re.compile(r"[^\W_](?:[\w'’\-]*[^\W_])?")
_POSSESSIVE = re.compile(r"['’]s?$")
_BRACKETS = re.compile(r"\s*[(\[][^)\]]*[)\]]")
_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-"})

# Small words that may stand inside a name, never at its ends.
_PARTICLES = "of the de des du la le von van der den da di do dos del el al bin ibn y & d"
PARTICLES = frozenset(_PARTICLES.split())

# In a title more may stand inside.
_INNER = "for to in on and at with from by a an or"
INNER = PARTICLES | frozenset(_INNER.split())
_STARTS_NO_NAME = """
a an the this that these those it its he she they we you i his her their our your my in on at of for from by
with as and or but if when while where which who whose what how why is are was were be been do does did can
could will would shall should may might must has have had not no nor so then than there here also after before
during since until because although however moreover such some any all each every both most many few one two
three first second third last next other another see note use using used both either neither only even just
once unless whether about above below into over under again further more
"""
# Words that may be in a name: not those that start with a small ASCII letter, unless they are of the lists above.
_IN_NAME = re.compile(rf"(?<!\w)(?:[^\W_a-z](?:[\w'’\-]*[^\W_])?|(?:{'|'.join(sorted(INNER))})(?!\w))")

STARTS_NO_NAME = frozenset(_STARTS_NO_NAME.split())


# Whoever speaks, and those they speak for: keys of two entities in every user's group (`memory/statements`).
SELF = ("you", "we")
_OF_SELF = re.compile(
    r"\b(?:i|i'm|me|my|mine|myself|we|us|our|ours|ich|mich|mir|mein(?:e[mnrs]?)?|wir|uns(?:er)?|je|j'|moi|mon|ma|mes|nous"
    r"|notre|nos|yo|mi|mis|nosotros|nuestr[oa]|vivo|trabajo|llamo)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    start: int
    end: int

    @property
    def capitalised(self) -> bool:
        return self.text[0].isupper() or self.text[0].isdigit()


@lru_cache(maxsize=20_000)
def key(name: str) -> str:
    """The form in which names are compared: no case, accents, possessive, or punctuation at the ends."""
    plain = name
    if not name.isascii():
        decomposed = unicodedata.normalize("NFKD", name.translate(_QUOTES))
        plain = "".join(char for char in decomposed if not unicodedata.combining(char))
    words = [_POSSESSIVE.sub("", word) for word in _WORD.findall(plain.casefold())]
    return " ".join(words)[:MAX_KEY].rstrip()


def home_keys(title: str) -> tuple[str, ...]:
    """Keys of the entity that a title names: the whole, without brackets, and without what follows a comma."""
    bare = _BRACKETS.sub("", title).strip()
    head = bare.split(",")[0]
    return tuple(dict.fromkeys(found for found in map(key, (title, bare, head)) if len(found) > 1))


def words(text: str) -> list[Word]:
    return [Word(found.group(), found.start(), found.end()) for found in _WORD.finditer(text)]


def runs(text: str, inner: frozenset[str] = PARTICLES) -> Iterator[list[Word]]:
    """Longest spans of capitalised words, `inner` words inside them included; punctuation ends a span."""
    run: list[Word] = []
    for found in _IN_NAME.finditer(text):
        word = Word(found.group(), found.start(), found.end())
        if run and not _joins(text[run[-1].end : word.start], run[-1]):
            yield from _trimmed(run)
            run = []
        if word.capitalised or (run and word.text in inner):
            run.append(word)
        elif run:
            yield from _trimmed(run)
            run = []
    yield from _trimmed(run)


def _joins(gap: str, before: Word) -> bool:
    if gap in (" ", "-", "\n", "& ", " & "):
        return True
    return gap == ". " and (len(before.text) == 1 or before.text in ("St", "Dr", "Mr", "Mrs", "Ms", "Jr", "Sr"))


def _trimmed(run: list[Word]) -> Iterator[list[Word]]:
    while run and not run[-1].capitalised:
        run = run[:-1]
    if run:
        yield run


def candidates(text: str) -> Iterator[list[str]]:
    """For each run of capitalised words, the keys of it and its parts, longest first."""
    for run in runs(text, INNER):
        yield list(dict.fromkeys(_parts(run)))


def asked(question: str) -> list[str]:
    """Keys of all word sequences of a question that may be a name, longest first, whatever their case."""
    found = words(question)
    wanted = [
        key(question[first.start : last.end])
        for size in range(min(MAX_WORDS, len(found)), 0, -1)
        for first, last in zip(found, found[size - 1 :], strict=False)
        if _may_be_asked(first, last, size)
    ]
    return list(dict.fromkeys(name for name in wanted if len(name) > 1))


def speaks_of_self(question: str) -> bool:
    return bool(_OF_SELF.search(question[:2000]))


def _may_be_asked(first: Word, last: Word, size: int) -> bool:
    if last.text.casefold() in STARTS_NO_NAME and size > 1:
        return last.text == "I" and first.capitalised  # the first of that name: "Juan Carlos I"
    if size == 1:
        return first.text.casefold() not in STARTS_NO_NAME and (first.capitalised or len(first.text) > 3)
    return True


def _parts(run: list[Word]) -> Iterator[str]:
    run = run[:24]
    for size in range(min(MAX_WORDS, len(run)), 0, -1):
        for begin in range(len(run) - size + 1):
            part = run[begin : begin + size]
            if part[0].capitalised and part[-1].capitalised:
                joined = key(" ".join(word.text for word in part))
                if len(joined) > 1 and joined not in STARTS_NO_NAME:
                    yield joined


def longest(runs_of_keys: Iterable[list[str]], known: Iterable[str]) -> list[str]:
    """The known names among candidates; a name that stands inside a longer known one of the same run is dropped."""
    names = set(known)
    chosen: list[str] = []
    for run in runs_of_keys:
        taken: list[str] = []
        for name in run:
            if name in names and not any(f" {name} " in f" {longer} " for longer in taken):
                taken.append(name)
        chosen += taken
    return list(dict.fromkeys(chosen))
