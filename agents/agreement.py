"""Do two questions ask for the same? Rules over their words, for questions that are near each other anyway.

Vectors of whole questions hardly tell "before the audit" from "after the audit", or one name from another. So every
word that carries meaning must have its fellow in the other question: the same word, or one whose own vector is near.
Numbers, names, negations, dates and opposites (before and after, buy and sell) must agree to the word, and so must
who does what to whom. Where the rules cannot tell, the questions are taken to differ: a miss costs a search, a false
agreement a wrong answer. English; questions in other languages agree with themselves only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from itertools import takewhile
from typing import Literal

from agents.asking import ASKED_FOR, Reading, Word, read
from agents.lexicon import CONFLICTS, KINDS, SIDES
from agents.topic import listed
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

_ABOUT_WHAT = frozenset({"who"})  # kinds that ask for a doer or what is done to, not for a circumstance

_WAY = listed("way ways step steps procedure process instructions method")
_AGENT = re.compile(r"(?:er|or|ist|ian|ee|ant|head|chief|boss)s?$")

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

_DENYING = ("un", "in", "im", "ir", "il", "dis", "non", "non-", "mis", "de")


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
    words = next(words for name, _, words in ASKED_FOR if name == kind)
    texts = {word.text for word in reading.words}
    if kind == "who":
        return bool(texts & words) or any(_AGENT.search(text) for text in texts)
    return not reading.kinds and bool(texts & words)


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
    for kind, _, words in ASKED_FOR:
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
