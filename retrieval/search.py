"""Question -> ranked hits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, Protocol

from aegis.scope import Scope, Span
from retrieval.catalogue import Chunk, DocumentFilter

Mode = Literal["hybrid", "vector", "keyword", "graph"]


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk and its score (higher is better, comparable within one search only)."""

    chunk: Chunk
    score: float
    via: tuple[str, ...] = ()  # chunk ids that a mention led from, nearest last; empty when found by itself

    def scored(self, score: float) -> Hit:
        return replace(self, score=score)

    @property
    def span(self) -> Span:
        return self.chunk.span


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """`known_at` is an epoch; `as_of` a moment compared with documents' and facts' own dates."""

    query: str
    mode: Mode = "hybrid"
    top_k: int = 10
    filter: DocumentFilter = DocumentFilter()
    collection: str | None = None
    as_of: datetime | None = None
    known_at: int | None = None
    rerank: bool = False


class Searcher(Protocol):
    async def search(self, scope: Scope, request: SearchRequest) -> list[Hit]:
        """Best first, at most `top_k`. Raises IndexUnavailable, InvalidInput."""
        ...
