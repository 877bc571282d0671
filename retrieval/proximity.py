"""Nearness: words side by side in the question that stand close together in a passage ("low birth weight").

The other scores see a passage as a bag of words. This needs no index, only a look at the passages at hand. Words meet
by their stems, scripts without spaces by pairs of characters.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from inference.words import content_words

SHARE = 0.2  # what it adds at most to a score in [0, 1]; .1 to .3 are better than none on every set measured
MOST_WORDS = 32  # of a question
READ_CHARS = 8000  # of a passage
MOST_PLACES = 30  # of a word in a passage
FAR = 10  # characters between the stem of one and the other that halve what their being near counts
ENDING = 5  # letters that may follow a stem

Places = dict[str, list[int]]


def nearness(question: str, passages: Sequence[str]) -> list[float]:
    """One score per passage, in [0, 1]: mean over the question's pairs, which count by how few passages hold both
    words. All 0 where the question has a single word that says something."""
    words = content_words(question)[:MOST_WORDS]
    pairs = [pair for pair in dict.fromkeys(pairwise(words)) if pair[0] != pair[1]]
    if not pairs:
        return [0.0] * len(passages)
    read = [_places(frozenset(words), passage[:READ_CHARS].casefold()) for passage in passages]
    weights = _weights(pairs, read)
    whole = sum(weights) or 1.0
    return [
        sum(weight * _near(places, *pair) for pair, weight in zip(pairs, weights, strict=True)) / whole
        for places in read
    ]


def _places(words: frozenset[str], text: str) -> Places:
    """Where these stems begin a word of the text; those that do nowhere are left out."""
    found = Places()
    for word in words:
        root = word.removesuffix("i") if len(word) > 3 else word  # the stem of "story" is "stori"
        if starts := _starts(root, text):
            found[word] = starts
    return found


def _starts(root: str, text: str) -> list[int]:
    found, spaced = list[int](), root.isascii()
    at = text.find(root)
    while at >= 0 and len(found) < MOST_PLACES:
        end = at + len(root)
        if not spaced or not (text[at - 1 : at].isalnum() or _runs_on(text[end : end + ENDING + 1])):
            found.append(at)
        at = text.find(root, end)
    return found


def _runs_on(following: str) -> bool:
    return len(following) > ENDING and following.isalpha()


def _weights(pairs: Sequence[tuple[str, str]], read: Sequence[Places]) -> list[float]:
    """Inverse frequency of the commoner word of each pair."""
    held = Counter(word for places in read for word in places)
    rarity = {
        word: math.log(1 + (len(read) - held[word] + 0.5) / (held[word] + 0.5)) for pair in pairs for word in pair
    }
    return [min(rarity[one], rarity[other]) for one, other in pairs]


def _near(places: Places, one: str, other: str) -> float:
    """1 where one follows the other at once, in either order."""
    ours, theirs = places.get(one), places.get(other)
    if not ours or not theirs:
        return 0.0
    gap = min(b - a - len(one) if a < b else a - b - len(other) for a in ours for b in theirs)
    return 1 / (1 + max(0, gap - 1) / FAR)
