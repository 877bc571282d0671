"""Do two questions ask for the same? Rules over their words, for questions that are near each other anyway.

Vectors of whole questions hardly tell "before the audit" from "after the audit", or one name from another. So every
word that carries meaning must have its fellow in the other question: the same word, or one whose own vector is near.
Numbers, names, negations, dates and opposites (before and after, buy and sell) must agree to the word, and so must
who does what to whom. Where the rules cannot tell, the questions are taken to differ: a miss costs a search, a false
agreement a wrong answer. English; questions in other languages agree with themselves only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import takewhile
from typing import Literal

from agents.lexicon import (
    ALSO_WORDS,
    BE,
    CONFLICTS,
    DATES,
    FORMS,
    KINDS,
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
from retrieval.store import Dense

WordVectors = Callable[[Sequence[str]], Dense]
"""Shape (words, dimensions); need not have unit length."""

FELLOW = 0.5  # cosine from which two words mean the same here; opposites are mostly below, and listed besides
SAME_SIDE = 0.3  # the same of words on one side of a line of opposites
LONGEST = 400  # characters; longer questions say too much to be compared by words

Why = Literal["language", "number", "name", "negation", "date", "direction", "kind", "words"]

_ENGLISH = re.compile(
    r"\b(?:the|is|are|was|were|what|what's|how|who|whom|whose|which|when|where|why|does|do|did|can|could|should|must|"
    r"may|has|have|tell|show|give|explain|list|name)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"\d+(?:[.,:]\d+)*(?:st|nd|rd|th)?(?!\w)|[^\W_]+(?:[-_.&/'][^\W_]+)*[+#]*")
_DIGITS = re.compile(r"(\d+(?:[.,:]\d+)*)(?:st|nd|rd|th)?")

# What is asked for: its name, the form of such a question, and words that stand for it.
_ASKED_FOR = tuple(
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
_ABOUT_WHAT = frozenset({"who"})  # kinds that ask for a doer or what is done to, not for a circumstance
_POLITE = re.compile(
    r"^\W*(?:(?:hi|hello|hey|please)\W+)*(?:(?:can|could|would|will) (?:you|someone|anyone) (?:please )?"
    r"(?:tell|explain|show|say|name|list|give|remind|describe)(?: to)?(?: me| us)?|do you know|does anyone know|"
    r"i(?:'d| would) (?:like|love) to (?:know|learn)|i (?:want|need) to know|i wonder|i am wondering|i'm wondering|"
    r"please (?:tell|explain|show|say|name|list|give|describe)(?: to)?(?: me| us)?|tell me|give me|show me|name|"
    r"remind me)\b\W*",
    re.IGNORECASE,
)
_WAY = listed("way ways step steps procedure process instructions method")
_AGENT = re.compile(r"(?:er|or|ist|ian|ee|ant|head|chief|boss)s?$")
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
_ENDINGS = listed("e s es ed ing ion ions ment ments al ance ation") | {""}
_LOOK_ALIKE = 0.7  # of two words that are not forms of one: more often two names ("methanol") than synonyms
_OTHER_WAY = (
    ("up", "down"),
    ("in", "out"),
    ("over", "under"),
    ("pre", "post"),
    ("im", "ex"),
    ("in", "ex"),
    ("hyper", "hypo"),
)
_HAVING = re.compile(r"\b(?:do|does|did)\b.+\bhave\W*$", re.IGNORECASE)
_DENYING = ("un", "in", "im", "ir", "il", "dis", "non", "non-", "mis", "de")


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


def disagreement(one: str, other: str, vectors: WordVectors | None = None) -> Why | None:
    """What tells the two questions apart, or None when they ask for the same."""
    if one == other:
        return None
    if max(len(one), len(other)) > LONGEST or not _comparable(one, other):
        return "language"
    a, b = read(one), read(other)
    for why, differ in _CHECKS:
        if differ(a, b):
            return why
    pairs = _paired(a, b, vectors)
    if pairs is None:
        return "words"
    return None if _same_parts(a, b, pairs) else "direction"


def _comparable(one: str, other: str) -> bool:
    """Whether both are English; a few keywords may be, beside an English question."""
    english = [bool(_ENGLISH.search(text)) for text in (one, other)]
    return all(english) or (any(english) and one.isascii() and other.isascii())


def _differ_in_time(a: Reading, b: Reading) -> bool:
    if a.dates != b.dates:
        return True
    stated = a.kinds & b.kinds & {"when", "where"}  # "when was" asks for what "what is the date of" does
    return not stated and {a.tense, b.tense} in ({"past", "present"}, {"past", "future"})


def _differ_in_names(a: Reading, b: Reading) -> bool:
    return not (a.names <= b.keys and b.names <= a.keys)


def _differ_in_direction(a: Reading, b: Reading) -> bool:
    both = a.sides.keys() & b.sides.keys()
    if any(a.sides[line] != b.sides[line] for line in both):
        return True
    return any(line not in b.sides for line, _ in a.bare) or any(line not in a.sides for line, _ in b.bare)


def _differ_in_kind(a: Reading, b: Reading) -> bool:
    if a.duty != b.duty or a.whose != b.whose:
        return True
    if a.how != b.how and not a.keys & b.keys & {"how"} and (a.kinds or b.kinds):
        return True
    return not all(_provided(kind, b) for kind in a.kinds) or not all(_provided(kind, a) for kind in b.kinds)


_CHECKS: tuple[tuple[Why, Callable[[Reading, Reading], bool]], ...] = (
    ("number", lambda a, b: a.numbers != b.numbers),
    ("date", _differ_in_time),
    ("negation", lambda a, b: a.negations != b.negations),
    ("name", _differ_in_names),
    ("direction", _differ_in_direction),
    ("kind", _differ_in_kind),
)


def _provided(kind: str, reading: Reading) -> bool:
    """Whether the question asks for this kind of thing, by its form or by a word for it."""
    if kind in reading.kinds:
        return True
    words = next(words for name, _, words in _ASKED_FOR if name == kind)
    texts = {word.text for word in reading.words}
    if kind == "who":
        return bool(texts & words) or any(_AGENT.search(text) for text in texts)
    return not reading.kinds and bool(texts & words)


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
    for kind, pattern, _ in _ASKED_FOR:
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


def _paired(a: Reading, b: Reading, vectors: WordVectors | None) -> list[tuple[Word, Word]] | None:
    """Each word with its fellow; None where one has none."""
    pairs: list[tuple[Word, Word]] = []
    left, right = list(a.words), list(b.words)
    for word in a.words:
        fellow = next((other for other in right if other.key == word.key), None)
        if fellow is not None:
            pairs.append((word, fellow))
            left.remove(word)
            right.remove(fellow)
    known = {word.key for word, _ in pairs} | _asked_words(a, b)
    alone = [[word for word in side if not {word.key, word.text} & known] for side in (left, right)]
    matched = _matched(alone[0], alone[1], vectors)
    return None if matched is None else [*pairs, *matched]


def _asked_words(a: Reading, b: Reading) -> set[str]:
    """Words for what both ask: "how long" in one stands for "duration" in the other."""
    found = set(_WAY) if a.how and b.how else set[str]()
    for kind, _, words in _ASKED_FOR:
        if kind in a.kinds | b.kinds and _provided(kind, a) and _provided(kind, b):
            found |= words
    return found


def _matched(left: list[Word], right: list[Word], vectors: WordVectors | None) -> list[tuple[Word, Word]] | None:
    """The best fellows among words that differ, by their vectors; None where one stays alone."""
    if not left and not right:
        return []
    if vectors is None or len(left) != len(right) or any(word.name or word.value for word in (*left, *right)):
        return None
    rows = vectors([word.text for word in (*left, *right)])
    places = ((i, j) for i in range(len(left)) for j in range(len(right)))
    near = {(i, j): _near(left[i], right[j], rows[i], rows[len(left) + j]) for i, j in places}
    pairs: list[tuple[Word, Word]] = []
    while near:
        (i, j), best = max(near.items(), key=lambda item: item[1])
        if best < 0:
            return None
        pairs.append((left[i], right[j]))
        near = {(k, m): value for (k, m), value in near.items() if k != i and m != j}
    return pairs


def _near(one: Word, other: Word, row: Dense, other_row: Dense) -> float:
    """How much nearer than needed; below 0 when they are no fellows."""
    if _apart(one.text, other.text):
        return -2.0
    cosine = _cosine(row, other_row)
    if _forms_of_one(one.text, other.text):
        return cosine - SAME_SIDE
    if SequenceMatcher(None, one.text, other.text).ratio() >= _LOOK_ALIKE:
        return -2.0
    together = set(SIDES.get(one.text, ())) & set(SIDES.get(other.text, ()))
    return cosine - (SAME_SIDE if together else FELLOW)


def _cosine(one: Dense, other: Dense) -> float:
    lengths = float((one @ one) * (other @ other)) ** 0.5
    return float(one @ other) / lengths if lengths else 0.0


def _forms_of_one(one: str, other: str) -> bool:
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    return same >= 4 and {one[same:], other[same:]} <= _ENDINGS


def _apart(one: str, other: str) -> bool:
    if "-" in one and "-" in other:  # "twice-weekly" and "thrice-weekly" share most of their vectors
        return True
    for this, that in _OTHER_WAY:
        for word, fellow in ((one, other), (other, one)):
            if word.startswith(this) and fellow == that + word.removeprefix(this):
                return True
    denied = any(one == prefix + other or other == prefix + one for prefix in _DENYING)
    return denied or any(one in kind and other in kind for kind in KINDS)


def _same_parts(a: Reading, b: Reading, pairs: Sequence[tuple[Word, Word]]) -> bool:
    """Whether the words have the same parts in both: by the marks before them, or by their order.

    Where a circumstance is asked for ("when", "how"), the deed may stand elsewhere ("the date of the launch"): one
    word that is no name may move. Where a doer is asked for, that would turn "who hired Bob" into "whom Bob hired".
    """
    if any({one.mark, other.mark} in CONFLICTS for one, other in pairs):
        return False
    # The manager of X is who manages X, not whom X manages.
    if any(_does_it(one) != _does_it(other) for one, other in pairs) and any(
        {one.mark, other.mark} == {"of", "does"} for one, other in pairs
    ):
        return False
    turned = _turned(a, b, pairs)
    if not turned:
        return True
    if any(_exchanged(*pairs[i], *pairs[j]) for i, j in turned):
        return False
    circumstance = (a.kinds | b.kinds or a.how or b.how) and not (a.kinds | b.kinds) & _ABOUT_WHAT
    return bool(circumstance) and any(
        all(moved in flip for flip in turned) for moved, (one, _) in enumerate(pairs) if not one.name and not one.value
    )


def _turned(a: Reading, b: Reading, pairs: Sequence[tuple[Word, Word]]) -> list[tuple[int, int]]:
    """Which pairs stand in another order, and may not."""
    places = [(_place(one, a.words), _place(other, b.words)) for one, other in pairs]
    found: list[tuple[int, int]] = []
    for i, (one, other) in enumerate(pairs):
        for j in range(i + 1, len(pairs)):
            turned = (places[i][0] < places[j][0]) != (places[i][1] < places[j][1])
            if turned and one.value == pairs[j][0].value and not _free(one, other, *pairs[j]):
                found.append((i, j))
    return found


def _place(word: Word, words: Sequence[Word]) -> int:
    return next(place for place, other in enumerate(words) if other is word)


def _free(a: Word, b: Word, c: Word, d: Word) -> bool:
    """Whether a word and its fellow may change places with another pair: "in Rome" may stand anywhere, "the price of
    tea" is "the tea price", and "which tower is the tallest" asks for the tallest tower."""
    if (a.mark and a.mark == b.mark) or (c.mark and c.mark == d.mark):
        return True
    if a.text.endswith("est") or c.text.endswith("est"):
        return True
    if _does_it(a) != _does_it(b) or _does_it(c) != _does_it(d):  # "X's manager" is not who X manages
        return False
    marks = [word.mark for word in (a, b, c, d)]
    return marks.count("of") == 1 and "does" not in marks


def _does_it(word: Word) -> bool:
    return bool(_AGENT.search(word.text))


def _exchanged(a: Word, b: Word, c: Word, d: Word) -> bool:
    """ "From X to Y" has become "from Y to X"."""
    return a.mark != c.mark and (a.mark, b.mark) == (d.mark, c.mark)
