"""Text -> dense vectors. WordLlama: static 256-d embeddings whose weights come with the package."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from aegis.settings import WordLlamaSettings
from retrieval.store import Dense

WIDTH = 256  # of the packaged weights
BATCH = 32  # texts embedded in one go: about 10 ms, so that nobody waits long for the interpreter


class Embedder(Protocol):
    """Vectors have unit length, so their dot product is the cosine."""

    @property
    def name(self) -> str:
        """Identifies model and width; stored vectors of another name are never compared with these."""
        ...

    @property
    def dimensions(self) -> int: ...

    async def embed(self, texts: Sequence[str]) -> Dense:
        """Shape (len(texts), dimensions), float32."""
        ...


class WordLlamaEmbedder:
    """`turn`, shape (256, dimensions) with orthonormal rows, makes wider vectors with the same cosines."""

    def __init__(self, model: Any, turn: Dense | None = None) -> None:
        self._model = model
        self._turn = turn
        self._unpadded: Any = None
        self.dimensions = WIDTH if turn is None else turn.shape[1]
        self.name = f"wordllama-{self.dimensions}"

    async def embed(self, texts: Sequence[str]) -> Dense:
        if len(texts) == 1:  # .04 ms: cheaper than a thread
            return self.embed_now(texts)
        parts = [
            await asyncio.to_thread(self.embed_now, texts[start : start + BATCH])
            for start in range(0, len(texts), BATCH)
        ]
        return np.concatenate(parts) if parts else np.empty((0, self.dimensions), np.float32)

    def embed_now(self, texts: Sequence[str]) -> Dense:
        vectors = np.asarray(self._model.embed(list(texts)), dtype=np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        lengths[lengths == 0] = 1  # a text without a known token stays the zero vector
        unit = (vectors / lengths).astype(np.float32, copy=False)
        return unit if self._turn is None else unit @ self._turn

    def word_vectors(self, words: Sequence[str]) -> Dense:
        """Shape (len(words), 256): the sum of each word's token vectors, whose length tells how much the word says."""
        table = self._model.embedding
        encoded = self._tokenizer().encode_batch(list(words), add_special_tokens=False)
        sums = [table[each.ids].sum(axis=0) if each.ids else np.zeros(WIDTH) for each in encoded]
        return np.asarray(sums, dtype=np.float32)

    def _tokenizer(self) -> Any:
        """The model's own pads every word to the longest."""
        if self._unpadded is None:
            from tokenizers import Tokenizer

            self._unpadded = Tokenizer.from_str(self._model.tokenizer.to_str())
            self._unpadded.no_padding()
        return self._unpadded


def load_wordllama(dimensions: int = WIDTH) -> WordLlamaEmbedder:
    """Loads the packaged weights (about .3 s, 134 MB). Nothing is fetched."""
    import wordllama

    package = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=package, disable_download=True)
    return WordLlamaEmbedder(model, None if dimensions == WIDTH else _turn(dimensions))


def _turn(dimensions: int) -> Dense:
    columns, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((dimensions, WIDTH)))
    return np.ascontiguousarray(columns.T, dtype=np.float32)


@asynccontextmanager
async def open_embedder(settings: WordLlamaSettings) -> AsyncGenerator[Embedder]:
    yield await asyncio.to_thread(_ready, settings.dimensions)


def _ready(dimensions: int) -> WordLlamaEmbedder:
    embedder = load_wordllama(dimensions)
    embedder.word_vectors(("first",))  # makes the second tokenizer here, not on the loop in the first search
    return embedder
