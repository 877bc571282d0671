"""Passages that share a name with a better one rise, the more so the more they hold of what is still asked.

One round of a personalised walk over passages and the names they mention, among the candidates of one question: it
starts from the best passages, leaves each over its names, rare ones first, and prefers passages with the words of the
question that the start's title does not hold. `Where is the waterfall in the country of the Bubye River?` goes from
the river over Zimbabwe to the passage that has "waterfall". Pure.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import replace

from memory.naming import STARTS_NO_NAME, asked, key, words
from retrieval.search import Hit

SOURCES = 5
WEIGHT = 1.0  # of the link beside the passage's own score
STEM = 6  # letters: enough to match `founded` and `founder`
TOLD = 0.3  # of a passage's own score: a link that adds more is shown as the way to it
NONE = frozenset[str]()

Names = Mapping[str, Set[str]]  # chunk id -> keys of the names it mentions or is about


def linked(question: str, hits: Sequence[Hit], names: Names) -> list[Hit]:
    """The hits, given best first, with what their best link adds to their scores; best first, at most 2."""
    stems = _stems(question)
    held = {hit.chunk.id: _held(stems, f"{hit.chunk.title} {hit.chunk.text}") for hit in hits}
    weight = _rarity(list(held.values()), len(hits))
    rarity = _rarity(list(names.values()), len(hits))
    known = set(asked(question))  # a name the question holds leads nowhere new
    best: dict[str, tuple[float, Hit]] = {}
    for source in hits[:SOURCES]:
        ours = names.get(source.chunk.id, NONE) - known
        still = stems - _held(stems, source.chunk.title)
        total = sum(weight.get(stem, weight[""]) for stem in still)
        for hit in hits:
            shared = ours & names.get(hit.chunk.id, NONE)
            says = still & held[hit.chunk.id]
            if not shared or not says or hit is source:
                continue
            link = max(rarity[name] for name in shared) / rarity[""]
            gain = source.score * link * sum(weight[stem] for stem in says) / total
            if gain > best.get(hit.chunk.id, (0.0, hit))[0]:
                best[hit.chunk.id] = (gain, source)
    return sorted((_raised(hit, best.get(hit.chunk.id)) for hit in hits), key=lambda hit: -hit.score)


def _raised(hit: Hit, link: tuple[float, Hit] | None) -> Hit:
    if link is None:
        return hit
    gain, source = link
    via = (*source.via, source.chunk.id) if WEIGHT * gain > TOLD * hit.score else hit.via
    return replace(hit, score=hit.score + WEIGHT * gain, via=via)


def _rarity(held: Collection[Set[str]], count: int) -> dict[str, float]:
    """What a name or word weighs by the share of the hits that hold it; "" is that of one which a single hit holds."""
    common = Counter(one for each in held for one in each)
    return {one: math.log(1 + count / times) for one, times in common.items()} | {"": math.log(1 + count)}


def _stems(text: str) -> set[str]:
    found = (word.text for word in words(text))
    return {key(word)[:STEM] for word in found if len(word) > 1 and word.casefold() not in STARTS_NO_NAME} - {""}


def _held(stems: Set[str], text: str) -> set[str]:
    """Those of these stems that words of the text begin with; one shorter than a stem must be the whole word."""
    if not stems:
        return set()
    either = "|".join(re.escape(stem) + ("" if len(stem) == STEM else r"(?!\w)") for stem in sorted(stems))
    return set(re.findall(rf"(?<!\w)(?:{either})", text.casefold()))
