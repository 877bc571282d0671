"""What a question is about, by its words: the names in it, or else its noun phrase. English rules, no model."""

from __future__ import annotations

import re


def listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


_QUOTED = re.compile(r'["“«]([^"”»]{2,80})["”»]|`([^`]{2,80})`')
# Capitalised words in a row, also joined by small words (Bank of England), and identifiers (chunk_id, v1.2, ISO-27001).
_CAPITAL = r"[^\W\d_a-zà-öø-ÿ][\w'&.+/-]*[\w+]|[^\W\d_a-zà-öø-ÿ]"
_NAME = re.compile(rf"(?:{_CAPITAL})(?: (?:(?:of|the|de|la|van|von|&) ){{0,2}}(?:{_CAPITAL}|\d[\w.-]*))*")
_IDENTIFIER = re.compile(r"\b\w*[a-z0-9]_\w+\b|\b[a-z]+[A-Z]\w+\b|\b[a-z]+\.[a-z]+(?:\.[a-z]+)*\b|\b[a-z]+-?\d[\w.]*\b")
_OPENERS = listed(
    """
    a an and any are as at be both but by can compare could describe did do does each else every explain find
    for from get give had has have hello hey hi how however i i'd i'll i'm i've if in is it its let list may me
    might more must my no not of ok okay on one or our please remember shall she he should show since so some
    summarise summarize tell thanks that the their them then there these they this those to translate under
    until was we were what what's when when's where where's whether which while who who's whom whose why will
    with would yes you your
    """
)
_STOP = _OPENERS | listed(
    """
    about after again all also always am another because been before being best between come comes differ
    different difference do does doing done during exactly example first general go goes going good happen
    happens just know last like long lot made make makes many mean means mention much need needs never new next
    now old only other out over own put really same say says see since still such take takes than thing things
    think too two up us use used uses using very want way work works year years
    """
)

# Words that ask about talking as such, and so say nothing of what was talked about.
TALK = listed(
    """
    answer answered answers ask asked before cite cited conversation conversations chat chats discuss discussed
    earlier last mention mentioned previous question questions recall recommended remember remind reply said say
    suggested summarise summarize talk talked talking tell told today week wrote yesterday ago again already
    once already me called first second third thing back ever
    """
)


def names(text: str) -> list[str]:
    """Quoted phrases, capitalised names and identifiers, in order, each once; a question's opening word is none."""
    found: list[tuple[int, str]] = []
    for match in _QUOTED.finditer(text):
        found.append((match.start(), (match[1] or match[2]).strip()))
    for match in _NAME.finditer(text):
        found.extend(_without_openers(match.start(), match[0]))
    found.extend((match.start(), match[0]) for match in _IDENTIFIER.finditer(text))
    kept: list[str] = []
    for _, name in sorted(found, key=lambda item: (item[0], -len(item[1]))):
        if not any(name.lower() in other.lower() for other in kept):
            kept.append(name)
    return kept


def topic(text: str) -> str:
    """The last name in a question, as that is mostly what the next question means; else its noun phrase; or ''."""
    known = names(text)
    if known:
        return known[-1] if len(known) == 1 or not _joined(text, known) else known[0]
    return phrase(text)


def phrase(text: str) -> str:
    """The longest run of content words, the later one of two as long."""
    runs: list[list[str]] = [[]]
    for word in re.findall(r"[\w'-]+|[^\w\s]", text):
        if word.lower() in _STOP or not word[0].isalnum():
            runs.append([])
        else:
            runs[-1].append(word)
    longest = max(reversed(runs), key=len)
    return " ".join(longest[-4:])


def content_words(text: str) -> list[str]:
    """Lower-case words that say something, each once, in order."""
    words = (word.strip("'-").lower() for word in re.findall(r"[\w'-]+", text))
    return list(dict.fromkeys(word for word in words if len(word) > 1 and word not in _STOP))


def _without_openers(start: int, name: str) -> list[tuple[int, str]]:
    words = name.split(" ")
    while words and words[0].lower() in _OPENERS:
        start += len(words.pop(0)) + 1
    while words and (words[-1].lower() in _OPENERS):
        words.pop()
    kept = " ".join(words)
    if kept.endswith("'s"):
        kept = kept[:-2]
    # A lone capitalised word that opens a sentence is a name only when it is not an ordinary word; here: has no
    # lower-case twin among the openers. Verbs that open requests ("Install ...") are let through: rare, harmless.
    return [(start, kept)] if kept and kept.lower() not in _STOP else []


def _joined(text: str, known: list[str]) -> bool:
    """Whether the last name only says where or when ("... Qdrant on Windows"), so that the first is the topic."""
    before = text[: text.rfind(known[-1])].rstrip().rsplit(" ", 1)[-1].lower()
    return before in ("in", "on", "at", "under", "with", "for", "from", "to", "by", "since", "during")
