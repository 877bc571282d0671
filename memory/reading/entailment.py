"""Whether a sentence states what a model says it does, as far as words can tell.

The sentence must be a statement, name subject and object, say the relation, hold the numbers, agree in negation and
doubt, and have the two in the same order. In doubt it does not: what is set apart can be looked at, what is wrongly
stored misleads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inference.words import content_words
from memory.extraction import says
from memory.facts.guard import HELD
from memory.naming import key
from memory.sentences import Sentence, sentences
from memory.statements.own_words import negated, supposed

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_CLAUSE = re.compile(r"[,;:()–—]| but | and | while | whereas | although ")
_PASSIVE = re.compile(r"\b(?:is|are|was|were|be|been|being)(?:\s+\w+){1,4}?\s+by\b", re.IGNORECASE)
_CAME_TO_NOTHING = re.compile(
    r"\b(?:fail|failed|fails|refused?|refuses|declined?|declines|tried|tries|try|attempted|attempts|seeks?|sought|wants?"
    r"|wanted)\s+to\b|\b(?:stopped|stops|ceased|ceases|quit)\b",
    re.IGNORECASE,
)
_SAYS_NOTHING = frozenset(content_words("relates related mentioned associated connected involves fact stated is has"))


@dataclass(frozen=True, slots=True)
class Claim:
    """What a model says of a chunk. `subjects` and `objects` are all names of the two ends."""

    subjects: Sequence[str]
    relation: str
    objects: Sequence[str]
    text: str


@dataclass(frozen=True, slots=True)
class Judged:
    """`quote == text[start:end]`; `reason` is empty where it states the claim."""

    quote: str
    start: int
    end: int
    reason: str


def judged(claim: Claim, text: str) -> Judged:
    """By the first sentence of the text that states the claim; otherwise by the one that shares most words with it."""
    found = list(sentences(text, 0, len(text)))
    for sentence in found:
        if not (reason := unstated(claim, sentence)):
            return Judged(sentence.text, sentence.start, sentence.end, reason)
    if not found:
        return Judged("", 0, 0, "The passage holds no sentence.")
    wanted = set(content_words(claim.text))
    closest = max(found, key=lambda sentence: len(wanted & set(content_words(sentence.text))))
    return Judged(closest.text, closest.start, closest.end, unstated(claim, closest))


def unstated(claim: Claim, sentence: Sentence) -> str:
    """Why the sentence does not state the claim; empty where it does."""
    quote = sentence.text
    if not sentence.states:
        return "The sentence states nothing: it is a question, code, or too short or long."
    for what, names in (("subject", claim.subjects), ("object", claim.objects)):
        if not any(named(name, quote) for name in names):
            return f"The sentence does not name the {what} “{names[0]}”."
    return (
        _relation(claim, quote)
        or _numbers(claim.text, quote)
        or _words(claim, quote)
        or _attitude(claim, quote)
        or _of_another(claim, quote)
        or _order(claim, quote)
    )


def named(name: str, text: str) -> bool:
    """Whether all words of the name stand in the text."""
    wanted = content_words(name)
    if not wanted:
        return bool(key(name)) and f" {key(name)} " in f" {key(text)} "
    return set(wanted) <= set(content_words(text))


def _relation(claim: Claim, quote: str) -> str:
    spoken = claim.relation.replace("_", " ").lower()
    ends = _stems((*claim.subjects, *claim.objects))
    missing = [word for word in content_words(spoken) if word not in _SAYS_NOTHING | ends | set(content_words(quote))]
    if not missing or says(claim.relation, quote):
        return ""
    return f"The sentence does not state the relation “{spoken}”."


def _numbers(fact: str, quote: str) -> str:
    held = {_plain(number) for number in _NUMBER.findall(quote)}
    missing = [number for number in _NUMBER.findall(fact) if _plain(number) not in held]
    return f"The sentence does not hold the number {missing[0]}." if missing else ""


def _plain(number: str) -> str:
    return re.sub(r",(?=\d{3})", "", number)


def _words(claim: Claim, quote: str) -> str:
    """Most of what the fact says beside the two names."""
    rest = set(content_words(claim.text)) - _stems((*claim.subjects, *claim.objects)) - _SAYS_NOTHING
    rest = {word for word in rest if not word.isdigit()}  # numbers were looked at
    held = rest & set(content_words(quote))
    if len(held) >= HELD * len(rest):
        return ""
    return f"The sentence does not say {', '.join(sorted(rest - held))}."


def _attitude(claim: Claim, quote: str) -> str:
    """In the clauses from the one end to the other: what is denied or supposed there is not stated."""
    said = _between(claim, quote)
    if negated(said) != negated(claim.text):
        return "The sentence denies it, or the fact denies what the sentence says."
    if supposed(said) and not supposed(claim.text):
        return "The sentence only supposes it."
    if _CAME_TO_NOTHING.search(said) and not _CAME_TO_NOTHING.search(claim.text):
        return "The sentence says that it was tried, or has ended."
    return ""


def _of_another(claim: Claim, quote: str) -> str:
    """`A manages B, and C manages D` does not say that A manages D."""
    ends = _stems((*claim.subjects, *claim.objects))
    wanted = set(content_words(claim.relation.replace("_", " "))) - ends - _SAYS_NOTHING
    places = sorted(place for names in (claim.subjects, claim.objects) if (place := _place(names, quote)) is not None)
    between = content_words(quote[places[0] : places[-1]]) if len(places) == 2 else []
    twice = [word for word in wanted if between.count(word) > 1]
    return f"The sentence says “{claim.relation.replace('_', ' ').lower()}” of another." if twice else ""


def _between(claim: Claim, quote: str) -> str:
    places = [place for names in (claim.subjects, claim.objects) if (place := _place(names, quote)) is not None]
    if len(places) < 2:
        return quote
    first, last = min(places), max(places)
    begin = max((match.end() for match in _CLAUSE.finditer(quote, 0, first)), default=0)
    following = _CLAUSE.search(quote, last)
    return quote[begin : following.start() if following else len(quote)]


def _order(claim: Claim, quote: str) -> str:
    """`A acquired B` is not `B acquired A`, and it is `B was acquired by A`."""
    orders: list[bool] = []
    for text in (claim.text, quote):
        subject, object_ = _place(claim.subjects, text), _place(claim.objects, text)
        if subject is None or object_ is None or subject == object_:
            return ""
        orders.append(subject < object_)
    turned = bool(_PASSIVE.search(claim.text)) != bool(_PASSIVE.search(_between(claim, quote)))
    return "" if (orders[0] == orders[1]) != turned else "The sentence says it the other way round."


def _place(names: Iterable[str], text: str) -> int | None:
    """Where one of the names begins, by its first word that carries meaning."""
    folded = text.casefold()
    found = (
        match.start()
        for name in names
        for word in (re.findall(r"[^\W_]+", name.casefold()) or [name.casefold()])[:1]
        if (match := re.search(rf"\b{re.escape(word[: max(3, len(word) - 2)])}", folded))
    )
    return min(found, default=None)


def _stems(names: Iterable[str]) -> set[str]:
    return {stem for name in names for stem in content_words(name)}
