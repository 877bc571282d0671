"""What a question asks for, read by rules: its words with their parts, numbers, names, negations, opposites, kind."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from agents.lexicon import (
    ALSO_WORDS,
    BE,
    DATES,
    FORMS,
    LIGHT,
    MARKS,
    NEGATIONS,
    NO,
    NUMBERS,
    SIDES,
    SPANS,
    UNMARKED,
    negation,
)
from agents.topic import listed
from inference.words import stem

_WORD = re.compile(r"\d+(?:[.,:]\d+)*(?:st|nd|rd|th)?(?!\w)|[^\W_]+(?:[-_.&/'][^\W_]+)*[+#]*")
_DIGITS = re.compile(r"(\d+(?:[.,:]\d+)*)(?:st|nd|rd|th)?")

# What is asked for: its name, the form of such a question, and words that stand for it.
ASKED_FOR = tuple(
    (kind, re.compile(pattern, re.IGNORECASE), listed(words))
    for kind, pattern, words in (
        ("count", r"\bhow many\b(?! times\b)|\bnumber of\b|\bcount of\b", "number count total quantity"),
        ("weight", r"\bhow heavy\b|\bhow much\b(?= (?:does|do|did) .{1,60} weigh)", "weight weigh weighs"),
        ("height", r"\bhow (?:tall|high)\b", "height"),
        ("depth", r"\bhow deep\b", "depth"),
        ("width", r"\bhow wide\b", "width"),
        ("size", r"\bhow (?:big|large)\b", "size"),
        ("temperature", r"\bhow (?:hot|cold|warm)\b", "temperature"),
        ("speed", r"\bhow (?:fast|quickly|quick)\b", "speed"),
        ("age", r"\bhow old\b", "age"),
        ("distance", r"\bhow far\b", "distance"),
        (
            "duration",
            r"\bhow long\b|\bhow much time\b|\bwhat length of time\b",
            "duration length long period time hours days weeks months years term lifetime",
        ),
        (
            "cost",
            r"\bhow much (?:does|do|did|is|are|will|would|money)\b|\bhow expensive\b",
            "price cost costs fee charge rate",
        ),
        ("frequency", r"\bhow often\b|\bhow frequently\b|\bhow many times\b", "frequency interval often frequently"),
        ("amount", r"\bhow much\b|\b(?:what|which) (?:amount|quantity) of\b", "amount quantity"),
        (
            "when",
            r"^\W*when\b|\b(?:by|since|until) when\b|"
            r"\b(?:on what|in what|at what|in which|on which|at which|what|which) "
            r"(?:dates?|days?|years?|months?|times?|moment|century)\b",
            "date dates day year month time times deadline",
        ),
        (
            "where",
            r"\bwhere\b|\b(?:in what|in which|at what|at which|what|which) (?:place|location|city|country|town)\b",
            "place location city country town address site whereabouts venue located situated",
        ),
        ("who", r"\bwho(?:m|se)?\b|\b(?:what|which) (?:person|people|man|woman)\b", "person"),
        ("why", r"\bwhy\b|\bhow come\b|\breasons? (?:for|why|that|of)\b", "reason cause purpose rationale motive"),
    )
)

_POLITE = re.compile(
    r"^\W*(?:(?:hi|hello|hey|please)\W+)*(?:(?:can|could|would|will) (?:you|someone|anyone) (?:please )?"
    r"(?:tell|explain|show|say|name|list|give|remind|describe)(?: to)?(?: me| us)?|do you know|does anyone know|"
    r"i(?:'d| would) (?:like|love) to (?:know|learn)|i (?:want|need) to know|i wonder|i am wondering|i'm wondering|"
    r"please (?:tell|explain|show|say|name|list|give|describe)(?: to)?(?: me| us)?|tell me|give me|show me|name|"
    r"remind me)\b\W*",
    re.IGNORECASE,
)

_HOW = re.compile(
    r"\bhow (?:do|does|did|can|could|should|would|to|is|are|might|must)\b|"
    r"\b(?:steps?|ways?|procedure|process|instructions?|method)\b (?:to|for|of)\b|\bin (?:what|which) way\b",
    re.IGNORECASE,
)
_RIGHT_WAY = re.compile(r"\b(?:right|correct|proper) way\b", re.IGNORECASE)
_PAST = re.compile(r"\b(?:was|were|did|had)\b", re.IGNORECASE)
_PRESENT = re.compile(r"\b(?:is|are|does|do|am)\b", re.IGNORECASE)
_FUTURE = re.compile(r"\b(?:will|going to|shall)\b", re.IGNORECASE)
_DUTY = re.compile(
    r"\b(?:have to|has to|needs? to|must|should|required|obliged|mandatory|necessary|obligatory|compulsory)\b",
    re.IGNORECASE,
)
_FREEDOM = re.compile(r"\b(?:can|may|could|allowed|permitted|possible|ok|okay|able)\b", re.IGNORECASE)
_YES_NO = re.compile(
    r"^\W*(?:is|are|was|were|do|does|did|can|could|may|might|must|should|shall|will|would|has|have|had|am)\b",
    re.IGNORECASE,
)
_WHOSE = re.compile(r"\bwhose\b", re.IGNORECASE)
_PARTICIPLE = re.compile(r"\w{2}ed$")
_PARTICIPLES = listed(
    """
    written bought built sold made given taken driven sent paid held kept led found won lost chosen spoken broken stolen
    worn drawn grown known seen thrown shown run read taught caught brought fed met set put cut spent lent left told
    felt meant understood done begun sung eaten flown hidden born struck overseen withdrawn
    """
)

_HAVING = re.compile(r"\b(?:do|does|did)\b.+\bhave\W*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Word:
    """`key`: a form that other forms of the word share. `mark`: the preposition it stands behind, or ''."""

    text: str
    key: str
    name: bool = False
    mark: str = ""
    value: bool = False  # a number or date


@dataclass(frozen=True, slots=True)
class Reading:
    words: tuple[Word, ...]  # those that carry meaning; of a passive in the order of the active
    numbers: Counter[str]
    dates: frozenset[str]
    negations: Counter[str]
    sides: Mapping[int, frozenset[int]]  # line of opposites -> sides
    bare: frozenset[tuple[int, int]]  # (line, side) of words that are not among `words`
    kinds: frozenset[str]
    how: bool
    whose: bool
    tense: str
    duty: str

    @property
    def keys(self) -> set[str]:
        return {word.key for word in self.words}

    @property
    def names(self) -> set[str]:
        return {word.key for word in self.words if word.name}


@lru_cache(maxsize=2_000)
def read(question: str) -> Reading:
    text = _RIGHT_WAY.sub("way", _POLITE.sub("", question.replace("’", "'").strip()))
    kinds, left = _kinds(text)
    words, fronted = _words(left)
    tokens = [token.lower() for token in _WORD.findall(text)]
    meant = {word.text for word in words}
    return Reading(
        words=tuple(_active(text, tokens, words, fronted)),
        numbers=Counter(word.key for word in words if word.value and not word.key.isalpha()),
        dates=frozenset(word.key for word in words if word.value and word.key.isalpha()),
        negations=Counter(negation(found[0]) for found in NEGATIONS.finditer(text)),
        sides=_sides(tokens),
        bare=frozenset(place for token in tokens if token not in meant for place in SIDES.get(token, ())),
        kinds=kinds,
        how=bool(_HOW.search(text)),
        whose=bool(_WHOSE.search(text)),
        tense=_tense(text),
        duty=_duty(text),
    )


def _words(text: str) -> tuple[list[Word], int]:
    """And how many of them stand before "does": "which X does Y buy"."""
    words: list[Word] = []
    fronted = 0
    does = "of" if _HAVING.search(text) else "does"  # "which budget does X have" asks for the budget of X
    mark, used = "", False  # a mark holds for the words that follow each other
    for found in _WORD.finditer(text):
        token = re.sub(r"'s?$", "", found[0])
        lower = token.lower()
        word = _word(token, text, found.start())
        if word is not None:
            if mark == "does" and used and not word.name:  # the verb, and what is done to
                mark = ""
            words.append(replace(word, mark=mark if token == found[0] else "of"))
            used = True
        elif lower in MARKS:
            mark, used = MARKS[lower], False
            if mark == "does":
                mark, fronted = does, fronted or len(words)
        elif (used and mark != "between") or lower in UNMARKED or lower in BE:
            mark, used = "", False
    return words, fronted


def _word(token: str, text: str, start: int) -> Word | None:
    """None for a word that says nothing about what is asked."""
    lower = token.lower()
    if number := _number(lower):
        return Word(lower, number, value=True)
    if lower in DATES and not (lower in ALSO_WORDS and (token.islower() or _opens(text, start))):
        return Word(lower, DATES[lower], value=True)
    if lower in SPANS:
        return Word(lower, SPANS[lower], value=True)
    if (lower in LIGHT and not _is_name(token, text, start)) or lower in NO or lower in MARKS or lower.endswith("n't"):
        return None
    return Word(lower, _key(lower), _is_name(token, text, start))


def _is_name(token: str, text: str, start: int) -> bool:
    capital = not token.islower() and not _opens(text, start) and token not in ("I", "I'm", "I'd", "I've")
    return capital or any(letter.isdigit() or letter in "_./+#&" for letter in token)


def _opens(text: str, start: int) -> bool:
    return text[:start].rstrip()[-1:] in ("", ".", "?", "!", ":", "\n")


def _number(lower: str) -> str:
    if found := _DIGITS.fullmatch(lower):
        return found[1].replace(",", "") if re.fullmatch(r"\d{1,3}(?:,\d{3})+", found[1]) else found[1]
    return NUMBERS.get(lower, "")


@lru_cache(maxsize=20_000)
def _key(word: str) -> str:
    return FORMS.get(word) or FORMS.get(stem(word)) or stem(word)


def _kinds(text: str) -> tuple[frozenset[str], str]:
    """What is asked for, and the text without the words that ask for it."""
    found: set[str] = set()
    for kind, pattern, _ in ASKED_FOR:
        if pattern.search(text):
            text = pattern.sub("what", text)
            found.add(kind)
    return frozenset(found), text


def _tense(text: str) -> str:
    if _FUTURE.search(text):
        return "future"
    past, present = bool(_PAST.search(text)), bool(_PRESENT.search(text))
    return "" if past == present else ("past" if past else "present")


def _duty(text: str) -> str:
    """Of a question for yes or no: whether it asks what must be or what may be."""
    if not _YES_NO.match(text):
        return ""
    return "must" if _DUTY.search(text) else "may" if _FREEDOM.search(text) else ""


def _sides(tokens: Iterable[str]) -> Mapping[int, frozenset[int]]:
    found: dict[int, set[int]] = {}
    for token in tokens:
        for line, side in SIDES.get(token, ()):
            found.setdefault(line, set()).add(side)
    return {line: frozenset(sides) for line, sides in found.items()}


def _active(text: str, tokens: Sequence[str], words: list[Word], fronted: int) -> list[Word]:
    """In the order doer, deed, the rest: "which X did Y buy" and "X was bought by Y" in that of "Y bought X"."""
    words = [*words[fronted:], *words[:fronted]]
    if not set(tokens) & BE:
        return words
    by = [word for word in words if word.mark == "by"]
    rest = [word for word in words if word.mark != "by"]
    done = [word for i, word in enumerate(rest) if _is_done(word, last=i == len(rest) - 1)]
    if not by and text.rstrip(" ?.!").endswith(" by"):  # "which law is it governed by"
        by, rest = rest[:1], rest[1:]
    doer = [replace(word, mark="does") for word in by]
    return [*doer, *done[-1:], *(word for word in rest if word not in done[-1:])]


def _is_done(word: Word, *, last: bool) -> bool:
    plain = not word.name and not word.value and (last or not word.mark)
    return plain and (bool(_PARTICIPLE.search(word.text)) or word.text in _PARTICIPLES)
