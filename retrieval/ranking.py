"""Two rankings -> one. Pure functions over `Candidates`; nothing here knows an engine.

Measured (nDCG@10, BM25 + WordLlama): equal-weight reciprocal ranks fall below BM25 alone when the dense half is weak; a
convex combination of max-normalised scores beats both halves on every set tried. Hence the default; reciprocal ranks
and distribution-based scores are the engine's (`VectorStore.fused`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from retrieval.store import Candidates, Scored

TITLE_BONUS = 0.3
NEIGHBOUR_SHARE = 0.2
UNMOVED = 12  # first hits that keep their places whatever stands beside them
BESIDE = 0.65  # of a hit's score, what the chunk beside it is worth at least; .7 does as well
BESIDE_OWN = 0.2  # of its own score, what it has on top of that
_LEAST_TITLE = 4  # characters; shorter titles ("API", "FAQ") stand in questions by chance
_WORDS = re.compile(r"\w+")
_BRACKETS = re.compile(r"\s*\([^)]*\)\s*$")


def convex(candidates: Candidates, dense_weight: float = 0.5, full: int | None = None) -> list[Scored]:
    """(1 - w) x BM25 / best BM25 + w x cosine / best cosine, in [0, 1], best first.

    Each point has its true score in both halves, also where only one found it: to count 0 there instead costs .04
    nDCG@10 on scifact. `full` is the number of points each half was asked for. The last score of a full keyword half
    counts nothing where the dense half did not find the point too: which of several equal points came in at the end
    is the engine's choice, and changes when an index is rebuilt.
    """
    dense = _normalised([*candidates.dense, *candidates.dense_rest])
    sparse = _normalised([*candidates.sparse, *candidates.sparse_rest])
    if full is not None and len(candidates.sparse) >= full:
        sparse = _without_last(candidates, sparse)
    scores = {
        identifier: (1 - dense_weight) * sparse.get(identifier, 0.0) + dense_weight * dense.get(identifier, 0.0)
        for identifier in sparse.keys() | dense.keys()
    }
    return ranked(scores)


def normalised(scored: Sequence[Scored]) -> list[Scored]:
    """The same ranking with the best score 1; scores below 0 become 0."""
    return ranked(_normalised(scored))


def with_titles(question: str, scored: Sequence[Scored], titles: Mapping[str, str]) -> list[Scored]:
    """+ .3 for each point whose title (by point id, brackets left out) stands in the question; best made 1 again."""
    words = _words(question)
    raised = [Scored(found.id, found.score + TITLE_BONUS * _named(titles.get(found.id, ""), words)) for found in scored]
    return normalised(raised)


def with_neighbours(scored: Sequence[Scored], places: Mapping[str, tuple[str, int]]) -> list[Scored]:
    """+ .2 x the scores of the chunks just before and after, where they are candidates too.

    `places`: (version, ordinal) by point id. An answer seldom stands alone: a chunk amid relevant ones is the likelier.
    """
    by_place = {places[found.id]: found.score for found in scored if found.id in places}
    raised = dict[str, float]()
    for found in scored:
        version, ordinal = places.get(found.id, ("", 0))
        around = by_place.get((version, ordinal - 1), 0.0) + by_place.get((version, ordinal + 1), 0.0)
        raised[found.id] = found.score + NEIGHBOUR_SHARE * around
    return normalised(ranked(raised))


def with_surroundings(scored: Sequence[Scored], beside: Mapping[str, Sequence[str]]) -> list[Scored]:
    """After the first 12, a chunk beside a hit scores at least .65 x the hit's score + .2 x its own (0 if not found).

    `beside`: ids of the chunks just before and after, by point id. An answer goes on where a chunk ends, in words that
    the question does not have, while far down a ranking a score says little: measured on three sets of long documents,
    what stands beside a hit holds as much of the gold as a hit of .6 to .7 of its score. Among the first it would
    push other documents out.
    """
    own = {found.id: found.score for found in scored}
    raised = dict(own)
    for found in scored:
        for other in beside.get(found.id, ()):
            worth = BESIDE * found.score + BESIDE_OWN * own.get(other, 0.0)
            raised[other] = max(raised.get(other, 0.0), worth)
    head = list(scored[:UNMOVED])
    for found in head:
        del raised[found.id]
    return head + [Scored(found.id, min(found.score, head[-1].score)) for found in ranked(raised)]


def leading(scored: Sequence[Scored], count: int) -> list[Scored]:
    """Those of a ranking whose surroundings may come among the first `count`."""
    if count <= UNMOVED or len(scored) < UNMOVED:
        return []
    least = scored[count - 1].score if len(scored) >= count else 0.0
    return [found for found in scored if (BESIDE + BESIDE_OWN) * found.score > least]


def ranked(scores: Mapping[str, float]) -> list[Scored]:
    """Best first; equal scores in order of id, so that the same question always gets the same answer."""
    return [Scored(identifier, score) for identifier, score in sorted(scores.items(), key=_best_first)]


def _best_first(item: tuple[str, float]) -> tuple[float, str]:
    return -item[1], item[0]


def _normalised(half: Iterable[Scored]) -> dict[str, float]:
    best = max((found.score for found in half), default=0.0)
    if best <= 0:
        return {found.id: 0.0 for found in half}
    return {found.id: max(found.score, 0.0) / best for found in half}


def _without_last(candidates: Candidates, sparse: Mapping[str, float]) -> dict[str, float]:
    last = min(sparse[found.id] for found in candidates.sparse)
    if last == max(sparse.values()):
        return dict(sparse)
    chance = {found.id for found in candidates.sparse if sparse[found.id] <= last}
    chance.difference_update(found.id for found in candidates.dense)
    return {identifier: 0.0 if identifier in chance else score for identifier, score in sparse.items()}


def _named(title: str, question: str) -> bool:
    words = _title_words(title)
    return len(words) >= _LEAST_TITLE + 2 and words in question


@lru_cache(maxsize=20_000)
def _title_words(title: str) -> str:
    return _words(_BRACKETS.sub("", title))


def _words(text: str) -> str:
    """Lower-case words with a space before, between and after, so that `in` finds whole words only."""
    return f" {' '.join(_WORDS.findall(text.lower()))} "
