"""What a question asks for: its content words and the kind of answer; and how well a sentence's form fits that."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from inference.words import content_words

Kind = Literal["who", "when", "where", "count", "definition", "why", "how", "other"]

_KINDS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    (
        "count",
        re.compile(r"\bhow (?:many|much|long|old|large|big|far|tall|high|fast|often)\b|\bwie viele?\b|\bcombien\b"),
    ),
    ("who", re.compile(r"\bwho(?:m|se)?\b|\bwer\b|\bwem\b|\bqui\b|\bquién\b")),
    (
        "when",
        re.compile(
            r"\bwhen\b|\b(?:what|which|in what) (?:year|date|day|month|century)\b|\bwann\b|\bquand\b|\bcuándo\b"
        ),
    ),
    ("where", re.compile(r"\bwhere\b|\bin (?:what|which) (?:city|country|state|place|town)\b|\bwo\b|\boù\b|\bdónde\b")),
    ("why", re.compile(r"\bwhy\b|\bwarum\b|\bpourquoi\b|\bpor qué\b")),
    ("how", re.compile(r"\bhow (?:do|does|can|to|should|is|are)\b|\bwie\b|\bcomment\b|\bcómo\b")),
)
_DEFINITION = re.compile(
    r"^\W*(?:(?:what|who)(?:'s| is| are| was| were)|define|what does|was ist|qu'est-ce que?|qué es)\s+"
    r"(?:an? |the |ein |eine |un |une |una )?(?P<term>[^?]{2,60}?)(?:\s+(?:mean|stand for))?\s*\?*\s*$",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|hundred|thousand|million|dozen|twice|once)\b",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"\b(?:1\d{3}|20\d{2})\b|\b(?:january|february|march|april|june|july|august|september|october|november|december)\b|"
    r"\b\d{1,2}[/.]\d{1,2}[/.]\d{2,4}\b|\bcentury\b|"
    r"\bevery \w+ (?:seconds|minutes|hours|days)\b|\b(?:after|before|once|until)\b",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<=\s)[A-ZÀ-Þ][\w'’-]+")
_CAPITAL = re.compile(r"\b[A-ZÀ-Þ][\w-]*[\w]\b")
_PLACE = re.compile(
    r"\b(?:in|at|near|from|of|under|on|inside|into)\s+(?:the\s+)?(?:[A-ZÀ-Þ`/.]|\w+ (?:folder|file|directory))"
)
_REASON = re.compile(
    r"\b(?:because|since|so that|therefore|due to|in order to|thus|otherwise|reason|weil|damit)\b", re.I
)
_DOING = re.compile(
    r"`[^`]+`|\b(?:run|set|use|call|open|click|type|install|start|choose|add|send|put|by \w+ing)\b", re.IGNORECASE
)

_FORMS: dict[Kind, tuple[re.Pattern[str], float]] = {
    "count": (_NUMBER, 0.2),
    "who": (_NAME, 0.1),
    "when": (_DATE, 0.2),
    "where": (_PLACE, 0.1),
    "why": (_REASON, 0.15),
    "how": (_DOING, 0.1),
}
DEFINES = 0.35
ASKS = -0.5  # a question in a document shares all words with the question, and answers nothing
OPENS = 0.15  # the opening of a passage is more often what it is about


@dataclass(frozen=True, slots=True)
class Asked:
    kind: Kind
    words: frozenset[str]
    term: str = ""  # what a definition is wanted of


def asked(question: str) -> Asked:
    words = frozenset(content_words(question))
    definition = _DEFINITION.match(question)
    if definition and len(definition.group("term").split()) <= 5:
        return Asked("definition", words, definition.group("term").strip(" \"'“”`"))
    folded = question.casefold()
    for kind, pattern in _KINDS:
        if pattern.search(folded):
            return Asked(kind, words)
    return Asked("other", words)


def names(question: str) -> frozenset[str]:
    """Words of the names in a question: those with a capital, but for its first."""
    body = question.strip().partition(" ")[2]
    return frozenset(content_words(" ".join(_CAPITAL.findall(body))))


def has_form(question: Asked, sentence: str) -> bool:
    """Whether the sentence holds what an answer of this kind must hold: a number, a date, a name, a reason."""
    if question.kind == "definition":
        return _defines(question.term, sentence)
    form = _FORMS.get(question.kind)
    return form is None or bool(form[0].search(sentence))


def fit(question: Asked, sentence: str, title: str, *, first: bool) -> float:
    """What the form of a sentence adds to its score, -.5 to .5."""
    if sentence.rstrip().endswith(("?", "？")):
        return ASKS
    if question.kind == "definition":
        about = question.term.casefold() in title.casefold()
        return DEFINES * _defines(question.term, sentence) + OPENS * (first and about)
    form = _FORMS.get(question.kind)
    return form[1] if form and form[0].search(sentence) else 0.0


def _defines(term: str, sentence: str) -> bool:
    pattern = (
        rf"^\W*(?:an? |the |der |die |das |le |la |el )?[*_`\"]*{re.escape(term)}[*_`\"]*(?:\s*\([^)]*\))?,?\s+"
        r"(?:is|are|was|were|means|refers to|stands for|ist|sind|est|es)\b"
    )
    return bool(re.match(pattern, sentence, re.IGNORECASE))
