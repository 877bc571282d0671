"""What stands in a list of hits twice: near-duplicates are folded into the best of them; on request the rest is spread
by maximal marginal relevance (Carbonell and Goldstein 1998). Passages are compared by the words they hold."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

SAME = 0.9  # share of all their words that two passages have in common, from which on they count as one
READ_CHARS = 8000

Words = frozenset[str]


def folded(texts: Sequence[str]) -> list[list[int]]:
    """Places of distinct texts in order, each with the places of those after it that nearly repeat it."""
    groups, words = list[list[int]](), list[Words]()
    for place, text in enumerate(texts):
        mine = _words(text)
        twin = next((n for n, other in enumerate(words) if _twins(mine, other)), None)
        if twin is None:
            groups.append([place])
            words.append(mine)
        else:
            groups[twin].append(place)
    return groups


def spread(scores: Sequence[float], texts: Sequence[str], diversity: float, limit: int) -> list[int]:
    """Places of `limit` texts: each next one has the most of (1 - diversity) x score - diversity x likeness to those
    taken. `scores` in [0, 1]; a diversity of 0 keeps the order."""
    left, taken = list(range(len(texts))), list[int]()
    words = [_words(text) for text in texts]
    nearest = [0.0] * len(texts)
    while left and len(taken) < limit:
        best = max(left, key=lambda place: (1 - diversity) * scores[place] - diversity * nearest[place])
        left.remove(best)
        taken.append(best)
        for place in left:
            nearest[place] = max(nearest[place], _likeness(words[place], words[best]))
    return taken


@lru_cache(maxsize=2000)
def _words(text: str) -> Words:
    return frozenset(text[:READ_CHARS].casefold().split())


def _twins(one: Words, other: Words) -> bool:
    """Texts that differ in a number say different things."""
    small, large = sorted((len(one), len(other)))
    if small < SAME * large or _likeness(one, other) < SAME:
        return False
    return not any(map(_numeric, one ^ other))


def _numeric(word: str) -> bool:
    return any(map(str.isdigit, word))


def _likeness(one: Words, other: Words) -> float:
    """Jaccard's; two texts without a word are not alike, as nothing is known of them."""
    common = len(one & other)
    return common / (len(one) + len(other) - common) if common else 0.0
