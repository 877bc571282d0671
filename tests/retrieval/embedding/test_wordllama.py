"""WordLlama vectors: offline, and with some meaning in them."""

from __future__ import annotations

import numpy as np

from retrieval.embedding.wordllama import load_wordllama


def test_meaning_is_nearer_than_noise() -> None:
    texts = ["a cat sleeps on the sofa", "kitten napping on a couch", "bond yields fell"]
    one, same, other = load_wordllama().embed_now(texts)
    assert one @ same > one @ other + 0.1


def test_wider_vectors_have_the_same_cosines() -> None:
    texts = ["a cat sleeps", "rivers carry sand", "bond yields fell"]
    narrow, wide = load_wordllama().embed_now(texts), load_wordllama(1024).embed_now(texts)
    assert np.allclose(narrow @ narrow.T, wide @ wide.T, atol=1e-4)
