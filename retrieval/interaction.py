"""Late interaction: each word of the question finds its nearest word in a passage (MaxSim), over static embeddings.

Words count by how few of the candidates hold them and by the length of their vectors, which static embeddings learn
as a weight; so no statistics of the corpus are needed. One vector a word, made when it is first seen, makes it cheap
enough for every search: about a millisecond for 40 passages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.proximity import SHARE as NEAR_SHARE
from retrieval.ranking import normalised, ranked
from retrieval.store import Scored

DEPTH = 25  # best candidates that a search reranks by default
SHARE = 0.25  # of the final score; .1 to .3 are better than none on every set measured
KEPT = 50_000  # words whose vectors are kept, as float16: 26 MB at 256 dimensions
READ = 10_000  # passages whose words are kept as numbers: about 5 MB
MOST_WORDS = 256  # different words of a passage that are looked at
QUESTION_WORDS = 64
SAME = 0.995  # a cosine of the same word, after rounding

_QUIET = 200_000  # multiplications; OpenBLAS goes parallel above 262,144

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]
_WORDS = re.compile(r"[^\W_]+")


class Reranker(Protocol):
    """Scores passages against a question with more care than a search over all of them can afford."""

    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        """One per passage, in [0, 1], comparable within this call only. Computes; takes milliseconds."""
        ...


class Reader(Protocol):
    """A model that reads question and passage together: better than words compared with words, and far slower.

    `share`: of the final score, what it says. `depth`: best candidates that a search lets it read by default."""

    @property
    def share(self) -> float: ...

    @property
    def depth(self) -> int: ...

    async def scores(self, question: str, passages: Sequence[str]) -> list[float] | None:
        """As a Reranker's, off the event loop; None where it has no answer in time, and the search goes without."""
        ...


def reranked(
    scored: Sequence[Scored], meant: Sequence[float] | None, near: Sequence[float], share: float = SHARE
) -> list[Scored]:
    """The first of a ranking mixed with their scores by meaning, where there are such, and by nearness; the best is 1.

    Those after them have neither, and so stay behind them."""
    best = max((found.score for found in scored), default=0.0) or 1.0
    share = 0.0 if meant is None else share
    mixed = {found.id: (1 - share) * found.score / best for found in scored}
    for found, more in zip(scored, meant or (), strict=False):
        mixed[found.id] += share * more
    for found, more in zip(scored, near, strict=False):
        mixed[found.id] += NEAR_SHARE * more
    return normalised(ranked(mixed))


class MaxSim:
    """`vectors(words)` gives one vector a word, shape (len(words), width); any length, which counts as weight."""

    def __init__(self, vectors: Callable[[Sequence[str]], Any], width: int = 256) -> None:
        self._vectors = vectors
        self._rows = dict[str, int]()
        self._kept: NDArray[np.float16] = np.empty((KEPT, width), np.float16)  # pages are taken as they fill
        self._lengths: Floats = np.empty(KEPT, np.float32)
        self._read = dict[tuple[int, int], Rows]()  # rows of a passage's words, by its text's hash and length
        self._lock = Lock()

    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        nearest, lengths = self.nearest(_different(question, QUESTION_WORDS), passages)
        if not nearest.any():
            return [0.0] * len(passages)
        return _spread(_weights(nearest, lengths) @ nearest)

    def nearest(self, words: Sequence[str], texts: Sequence[str]) -> tuple[Floats, Floats]:
        """Cosine of each of the different words and its nearest in each text, shape (words, texts), 0 where a text has
        none; and the length of each word's vector."""
        with self._lock:
            self._make_room(len(words) + MOST_WORDS * len(texts))
            mine = self._known(words)
            read = [self._passage(text) for text in texts]
            different, places = np.unique(np.concatenate([mine, *read]), return_inverse=True)
            unit, lengths = self._kept[different].astype(np.float32), self._lengths[mine]
        nearest = np.zeros((len(words), len(texts)), np.float32)
        sizes = np.array([len(text) for text in read], np.intp)
        if len(words) and sizes.any():
            similar = _products(unit[places[: len(mine)]], unit)[:, places[len(mine) :]]
            ends = np.cumsum(sizes)
            nearest[:, sizes > 0] = np.maximum.reduceat(similar, (ends - sizes)[sizes > 0], axis=1)
        return nearest, lengths

    def _passage(self, text: str) -> Rows:
        name = hash(text), len(text)  # the texts themselves would take three times as much
        rows = self._read.get(name)
        if rows is None:
            rows = self._read[name] = self._known(_different(text, MOST_WORDS))
        return rows

    def _make_room(self, words: int) -> None:
        """Forget everything when the words to come might not fit."""
        if len(self._rows) + words > KEPT or len(self._read) > READ:
            self._rows.clear()
            self._read.clear()

    def _known(self, words: Sequence[str]) -> Rows:
        """Rows of these words; vectors that are new are made."""
        new = [word for word in words if word not in self._rows]
        if new:
            made = np.asarray(self._vectors(new), np.float32)
            lengths = np.linalg.norm(made, axis=1)
            first = len(self._rows)
            self._lengths[first : first + len(new)] = lengths
            self._kept[first : first + len(new)] = made / np.maximum(lengths, 1e-9)[:, None]
            self._rows.update((word, first + place) for place, word in enumerate(new))
        return np.array([self._rows[word] for word in words], np.int32)


def _products(one: Floats, other: Floats) -> Floats:
    """`one @ other.T` in blocks so small that the linear algebra library wakes no threads: they cost more than they
    save, tens of milliseconds where the cores are busy."""
    width = max(1, _QUIET // (one.shape[1] * len(one)))
    return np.concatenate([one @ other[start : start + width].T for start in range(0, len(other), width)], axis=1)


def _different(text: str, limit: int) -> list[str]:
    return list(dict.fromkeys(_WORDS.findall(text)))[:limit]


def _weights(nearest: Floats, lengths: Floats) -> Floats:
    """What each word of the question counts: its inverse frequency among the passages, times its vector's length."""
    count = nearest.shape[1]
    holding = (nearest >= SAME).sum(axis=1)
    weights = np.log((count - holding + 0.5) / (holding + 0.5) + 1) * lengths
    total = float(weights.sum())
    return weights / total if total > 0 else weights


def _spread(scores: Floats) -> list[float]:
    """The best 1, the worst 0."""
    low, high = float(scores.min()), float(scores.max())
    return [(float(score) - low) / max(high - low, 1e-6) for score in scores]
