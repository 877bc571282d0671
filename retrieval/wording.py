"""What a query may mean beyond its letters: quoted phrases, misspelt words, acronyms and what they stand for.

Nothing is learnt beforehand: the passages that a first search finds tell which words the documents really use and what
their acronyms mean ("service level agreement (SLA)"), so a second search can ask for those as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

from inference.words import STOP, TOKEN, content_words, stem

SHORT = 3  # content words of a query that may need more: "our SLA", "kuberntes limits"
LEAST_LETTERS = 5  # of a word that may be misspelt; names and numbers are left alone by their form
ALIKE = 0.84  # difflib's ratio from which on a word of the passages is taken for the one meant
MOST_STRANGE = 3  # words that no passage has; a query with more of them is about something else
ENDING = 2  # letters in which forms of a word differ, and their length
MOST_ADDED = 6

_QUOTED = re.compile(r'"([^"\n]{3,120})"|“([^”\n]{3,120})”|„([^“”\n]{3,120})[“”]|«([^»\n]{3,120})»')
_ACRONYM = re.compile(r"\b[A-Z][A-Z0-9]{1,5}\b")
_DEFINED = re.compile(r"\(\s?([A-Z][A-Za-z0-9]{1,5}?)s?\s?\)")
_SPELT_OUT = re.compile(r"\b([A-Z][A-Z0-9]{1,5}) ?\(([^()\n]{5,80})\)")
_BEFORE = 80  # characters in which a meaning stands
_NAME = re.compile(r"[\w'’-]+")
_WORD = re.compile(r"[^\W\d_]+")


def phrases(query: str) -> list[str]:
    """Quoted parts of two words or more, casefolded: they must stand as they are."""
    found = (next(part for part in match.groups() if part) for match in _QUOTED.finditer(query))
    return [phrase for phrase in map(_flat, found) if " " in phrase]


def holds(text: str, wanted: Sequence[str]) -> bool:
    flat = _flat(text)
    return all(phrase in flat for phrase in wanted)


def added(query: str, passages: Sequence[str]) -> list[str]:
    """Words and phrases to ask for as well, in no more than a glance at the passages; nothing for a longer query, which
    says enough without: on scifact more would cost .008 nDCG@10."""
    if len(content_words(query)) > SHORT:
        return []
    more = [*_meanings(query, passages), *_spellings(query, passages)]
    return list({_flat(each): each for each in reversed(more)}.values())[::-1][:MOST_ADDED]


def _meanings(query: str, passages: Iterable[str]) -> Iterator[str]:
    asked, flat = set(_ACRONYM.findall(query)), _flat(query)
    for passage in passages:
        if "(" not in passage:
            continue
        for acronym, meaning in _definitions(passage):
            if acronym in asked:
                yield meaning
            elif len(acronym) > 2 and _flat(meaning) in flat and acronym not in query:
                yield acronym


def _definitions(passage: str) -> Iterator[tuple[str, str]]:
    for match in _DEFINED.finditer(passage):
        words = _NAME.findall(passage, max(0, match.start() - _BEFORE), match.start())
        if meaning := _initialled(words, match[1]):
            yield match[1], meaning
    for match in _SPELT_OUT.finditer(passage):
        if meaning := _initialled(_NAME.findall(match[2]), match[1]):
            yield match[1], meaning


def _initialled(words: Sequence[str], acronym: str) -> str:
    """The last words whose initials are the acronym, small words between them left out; '' where there are none."""
    for start in range(len(words) - 2, -1, -1):
        tail = words[start:]
        if tail[0][0].casefold() != acronym[0].casefold():
            continue
        telling = "".join(word[0] for word in tail if word.casefold() not in STOP)
        if acronym.casefold() in (telling.casefold(), "".join(word[0] for word in tail).casefold()):
            return " ".join(tail)
    return ""


def _spellings(query: str, passages: Sequence[str]) -> Iterator[str]:
    """For words of the query that no passage has, in any form: the nearest word that one has."""
    asked = [word for word in TOKEN.findall(query.casefold()) if len(word) >= LEAST_LETTERS and word.isalpha()]
    text = " ".join(passages).casefold() if asked else ""
    strange = [word for word in asked if word not in STOP and stem(word).removesuffix("i") not in text]
    if not 0 < len(strange) <= MOST_STRANGE:
        return
    known = set(_WORD.findall(text))
    for word in strange:
        yield from get_close_matches(word, [other for other in known if _mistakable(word, other)], 1, ALIKE)


def _mistakable(word: str, other: str) -> bool:
    """As long but for a letter, and not another form of the same word, which differs at its end only."""
    return abs(len(word) - len(other)) < 2 and word[0] == other[0] and word[:-ENDING] != other[: len(word) - ENDING]


def _flat(text: str) -> str:
    return " ".join(text.casefold().split())
