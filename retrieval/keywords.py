"""Text -> BM25 vectors, with Qdrant Edge's encoder on both profiles, so that both rank alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retrieval.store import Sparse


class KeywordEncoder:
    """Documents carry BM25 term weights, queries ones; the engine multiplies by the inverse document frequency."""

    def __init__(self) -> None:
        from qdrant_edge import Bm25

        self._bm25: Any = Bm25()

    def documents(self, texts: Sequence[str]) -> list[Sparse]:
        """About 10 MB of text per second; holds the interpreter, so pass a handful of chunks at a time."""
        return [_sparse(self._bm25.embed_document(_encodable(text))) for text in texts]

    def query(self, text: str) -> Sparse:
        return _sparse(self._bm25.embed_query(_encodable(text)))


def _sparse(vector: Any) -> Sparse:
    return Sparse(tuple(vector.indices), tuple(vector.values))


def _encodable(text: str) -> str:
    """Half of a surrogate pair (from a broken JSON escape, say) has no UTF-8 form; the engine would refuse it all."""
    return text.encode("utf-8", "replace").decode("utf-8")
