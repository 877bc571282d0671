"""BM25 vectors."""

from __future__ import annotations

from retrieval.keywords import KeywordEncoder
from retrieval.store import Sparse


def test_query_and_passage_share_the_tokens_of_shared_words() -> None:
    encoder = KeywordEncoder()
    passage = encoder.documents(["Galaxies hold billions of stars; a galaxy holds gas too."])[0]
    assert set(encoder.query("galaxy").indices) <= set(passage.indices)  # stemmed alike
    assert not set(encoder.query("palace").indices) & set(passage.indices)
    assert len(set(passage.indices)) == len(passage.indices) == len(passage.values)


def test_words_used_more_often_weigh_more() -> None:
    encoder = KeywordEncoder()
    once, often = encoder.documents(["salt water glass stone", "salt salt salt stone"])
    token = encoder.query("salt").indices[0]
    assert _weight(often, token) > _weight(once, token) > 0


def _weight(vector: Sparse, token: int) -> float:
    return vector.values[vector.indices.index(token)]


def test_texts_without_words_and_broken_texts() -> None:
    encoder = KeywordEncoder()
    assert encoder.query("") == encoder.query(" \n\t") == Sparse((), ())
    assert encoder.documents([]) == []
    broken = encoder.query("salt \ud83d")
    assert set(encoder.query("salt").indices) <= set(broken.indices)
