"""Facts and entities found in the vector store: whose group, epoch and times fit, filtered where they are indexed.

What is found are ids. What they stand for, and whether it is seen, is read from the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from memory.facts.points import holding
from memory.facts.visibility import Time
from retrieval import ranking
from retrieval.embedding import Embedder
from retrieval.keywords import KeywordEncoder
from retrieval.search import dense_weight
from retrieval.store import Dense, PointFilter, Scored, VectorQuery, VectorStore, Within


@dataclass(frozen=True, slots=True)
class Near:
    """A fact by its id, and the cosine of its sentence to the question (0 where it was not compared)."""

    id: str
    cosine: float


@dataclass(frozen=True, slots=True)
class FactIndex:
    """`complete`: whether the store holds what it should; else the tables are to be asked. Raises IndexUnavailable."""

    store: VectorStore
    embedder: Embedder
    keywords: KeywordEncoder
    complete: Callable[[], bool]

    async def facts(self, groups: Sequence[str], query: str, time: Time, ends: Sequence[str], limit: int) -> list[Near]:
        """Facts of these entities that hold then, by words and meaning, best first: at most `limit` of each."""
        condition = PointFilter(
            frozenset(groups), time.epoch, types=("fact",), names={"ends": tuple(ends)}, numbers=holding(time)
        )
        dense = (await self.embedder.embed([query]))[0]
        found = await self.store.query(VectorQuery(condition, limit, dense, self.keywords.query(query)))
        cosines = {hit.id: hit.score for hit in (*found.dense, *found.dense_rest)}
        fused = ranking.convex(found, dense_weight(self.embedder.name), limit)
        return [Near(hit.id, cosines.get(hit.id, 0.0)) for hit in fused]

    async def like(
        self,
        kind: Literal["fact", "entity"],
        groups: Sequence[str],
        epoch: int,
        limit: int,
        *,
        words: str = "",
        vector: Dense | None = None,
        numbers: tuple[tuple[Within, ...], ...] = (),
        ends: Sequence[str] = (),
    ) -> list[Scored]:
        """By words, or by a vector of the index's own width: Graphiti's searches."""
        names = {"ends": tuple(ends)} if ends else {}
        condition = PointFilter(frozenset(groups), epoch, types=(kind,), names=names, numbers=numbers)
        sparse = self.keywords.query(words) if words else None
        found = await self.store.query(VectorQuery(condition, limit, vector, sparse))
        return found.dense or found.sparse
