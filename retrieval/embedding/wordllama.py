"""WordLlama: static 256-d embeddings whose weights come with the package."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.embedding.vectors import unit
from retrieval.store import Dense

WIDTH = 256  # of the packaged weights
FEW = 32  # texts of a question or a turn, .04 ms each: cheaper than a thread, which waits for the interpreter, too
ASKED = 256  # questions whose vectors are kept: a turn asks for that of its question five times
BATCH = 32  # texts embedded in one go: about 10 ms, so that nobody waits long for the interpreter


class WordLlamaEmbedder:
    """`turn`, shape (256, dimensions) with orthonormal rows, makes wider vectors with the same cosines."""

    elsewhere = False

    def __init__(self, model: Any, turn: Dense | None = None) -> None:
        self._model = model
        self._turn = turn
        self._unpadded: Any = None
        self._asked = lru_cache(maxsize=ASKED)(self._one)
        self.dimensions = WIDTH if turn is None else turn.shape[1]
        self.name = f"wordllama-{self.dimensions}"

    async def embed(self, texts: Sequence[str]) -> Dense:
        if len(texts) <= FEW:
            return self.embed_now(texts)
        parts = [
            await asyncio.to_thread(self.embed_now, texts[start : start + BATCH])
            for start in range(0, len(texts), BATCH)
        ]
        return np.concatenate(parts) if parts else np.empty((0, self.dimensions), np.float32)

    async def embed_query(self, text: str) -> Dense:
        return self._asked(text)

    def embed_now(self, texts: Sequence[str]) -> Dense:
        """The model's own `embed` pads all texts to the longest, and takes a quarter longer."""
        if len(texts) == 1:
            return self._asked(texts[0])[None]
        return self._turned(unit(self._sums(texts)))

    def word_vectors(self, words: Sequence[str]) -> Dense:
        """Shape (len(words), 256): the sum of each word's token vectors, whose length tells how much the word says."""
        return self._sums(words)

    def _one(self, text: str) -> Dense:
        vector = self._turned(unit(self._sums([text])))[0]
        vector.flags.writeable = False  # it is kept
        return vector

    def _turned(self, vectors: Dense) -> Dense:
        return vectors if self._turn is None else vectors @ self._turn

    def _sums(self, texts: Sequence[str]) -> Dense:
        """Of each text's token vectors; zeros for one without a token."""
        found = [each.ids for each in self._tokenizer().encode_batch(list(texts), add_special_tokens=False)]
        sizes = np.array([len(ids) for ids in found], np.intp)
        sums = np.zeros((len(found), WIDTH), np.float32)
        if sizes.any():
            rows = self._model.embedding[np.fromiter(chain.from_iterable(found), np.intp, sizes.sum())]
            sums[sizes > 0] = np.add.reduceat(rows, (np.cumsum(sizes) - sizes)[sizes > 0], axis=0)
        return sums

    def _tokenizer(self) -> Any:
        """The model's own pads every word to the longest; this one shares its vocabulary (12 MB)."""
        if self._unpadded is None:
            from tokenizers import Tokenizer

            own = self._model.tokenizer
            self._unpadded = Tokenizer(own.model)
            self._unpadded.normalizer = own.normalizer
        return self._unpadded


def load_wordllama(dimensions: int = WIDTH) -> WordLlamaEmbedder:
    """Loads the packaged weights, once per process (about .3 s, 54 MB). Nothing is fetched."""
    return WordLlamaEmbedder(_model(), None if dimensions == WIDTH else _turn(dimensions))


@cache
def _model() -> Any:
    import wordllama

    return wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)


def _turn(dimensions: int) -> Dense:
    columns, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((dimensions, WIDTH)))
    return np.ascontiguousarray(columns.T, dtype=np.float32)


@cache
def open_wordllama(dimensions: int = WIDTH) -> WordLlamaEmbedder:
    """With its second tokenizer, which the first search would otherwise make on the loop."""
    embedder = load_wordllama(dimensions)
    embedder.word_vectors(("first",))
    return embedder
