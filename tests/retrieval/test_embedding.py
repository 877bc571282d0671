"""WordLlama vectors: unit length, the same alone and in batches, offline."""

from __future__ import annotations

import numpy as np
import pytest

from aegis.settings import WordLlamaSettings
from retrieval.embedding import Embedder, open_embedder


async def embedded(*texts: str) -> tuple[Embedder, np.ndarray]:
    async with open_embedder(WordLlamaSettings()) as embedder:
        return embedder, await embedder.embed(texts)


async def test_vectors_have_unit_length_and_the_stated_width() -> None:
    embedder, vectors = await embedded(*[f"sentence number {n} about rivers" for n in range(100)])
    assert vectors.shape == (100, embedder.dimensions)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


async def test_alone_and_in_a_batch_are_the_same() -> None:
    texts = ["short", "a much longer sentence about the migration of birds " * 20, "日本語"]
    embedder, together = await embedded(*texts)
    for text, vector in zip(texts, together, strict=True):
        assert np.allclose((await embedder.embed([text]))[0], vector, atol=1e-5)


async def test_meaning_is_nearer_than_noise() -> None:
    _, (one, same, other) = await embedded("a cat sleeps on the sofa", "kitten napping on a couch", "bond yields fell")
    assert one @ same > one @ other + 0.1


@pytest.mark.parametrize("text", ["", " ", "\n", "\U0001f408", "x" * 100_000])
async def test_odd_texts_give_finite_vectors(text: str) -> None:
    _, vectors = await embedded(text)
    assert vectors.shape == (1, 256)
    assert np.isfinite(vectors).all()


async def test_no_texts_give_no_vectors() -> None:
    _, vectors = await embedded()
    assert vectors.shape == (0, 256)
