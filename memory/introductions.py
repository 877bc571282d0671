"""The names that a passage introduces: what it opens with, when it goes on to say what that is, and its other names.

`Onika Maraj (born 1982), known professionally as Nicki Minaj, is a rapper` makes its passage the home of all three:
the name as it stands, its first and last word, and what comes after "known as". Rules only, pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from memory.naming import INNER, STARTS_NO_NAME, Word, home_keys, key, runs

OPENING = 400  # characters read, up to the end of the first sentence
LEAST_SENTENCE = 60  # a full stop before that is taken for an abbreviation's
VERB_WITHIN = 80  # characters after the name in which what it is must begin
ALSO_WITHIN = 240  # characters after the name in which other names are looked for

_BEFORE = re.compile(r"[\"“‘'*_#\s]*(?:(?:The|An?)\s+)?")
_ENDS = re.compile(r"[.!?]\s+(?=[A-Z])")
_STATES = re.compile(
    r"\b(?:is|was|are|were|refers?|means|denotes?|stands|born)\b|\b[bd]\.\s|[(:–—]|\s-\s",
)
_ALSO = re.compile(
    r"\b(?:known|called|released|published|recogni[sz]ed|referred\s+to|named|styled|billed|abbreviated|nicknamed)\s+"
    r"(?:\w+ly\s+)?(?:simply\s+)?(?:as\s+|to\s+)?[\"“]?(?=[^\W\d_])"
    r"|\b(?:born|née|formerly|also|aka|a\.k\.a\.)\s+(?=[A-Z])"
    r"|\((?:also\s+)?[\"“]?(?=[A-Z])"
)
_NICKNAME = re.compile(r"\s*[\"“(]([A-Z][\w .'-]{1,30})[)\"”]\s*")
_MONTH = re.compile(
    r"(?:january|february|march|april|may|june|july|august|september|october|november|december)(?: \d+)*$"
)


def introduced(text: str) -> tuple[str, ...]:
    """Keys of the names under which a passage may be looked up; none when it opens with no name it says more of."""
    opening = _first_sentence(text, _BEFORE.match(text).end())  # pyright: ignore[reportOptionalMemberAccess]  # matches anything
    name = _name_at(opening)
    if name is None:
        return ()
    shown, after = opening[name[0].start : name[-1].end], opening[name[-1].end :]
    if not _STATES.search(after[:VERB_WITHIN]):
        return ()
    found: list[str] = []
    nickname = _NICKNAME.match(after)
    rest = _name_at(after[nickname.end() :]) if nickname else None
    if nickname and rest:  # Gian-Carla "Gia" Coppola
        shown += " " + " ".join(word.text for word in rest)
        found.append(key(f"{nickname.group(1)} {rest[-1].text}"))
    found += [*_variants(shown), *_also(after[:ALSO_WITHIN])]
    return tuple(dict.fromkeys(filter(_tells, found)))


def _first_sentence(text: str, start: int) -> str:
    end = _ENDS.search(text, start + LEAST_SENTENCE, start + OPENING)
    return text[start : end.start() if end else start + OPENING]


def _name_at(text: str) -> list[Word] | None:
    """The capitalised words that the text begins with."""
    first = next(runs(text[:120], INNER), None)
    return first if first and first[0].start <= 1 else None


def _variants(name: str) -> Iterator[str]:
    yield from home_keys(name)
    parts = name.split()
    if len(parts) < 3:
        return
    if not INNER.intersection(parts):
        yield key(f"{parts[0]} {parts[-1]}")
    for inner in (" of ", " the "):
        head = name.split(inner)[0]
        if head != name and " " in head:
            yield key(head)


def _also(text: str) -> Iterator[str]:
    for said in _ALSO.finditer(text):
        other = _name_at(text[said.end() :])
        if other:
            yield from home_keys(text[said.end() + other[0].start : said.end() + other[-1].end])


def _tells(name: str) -> bool:
    return len(name) > 2 and not name[0].isdigit() and name not in STARTS_NO_NAME and not _MONTH.match(name)
