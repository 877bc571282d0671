"""A vector store in a dictionary: exact, without idf. A test double for whoever needs a `VectorStore`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from retrieval.store import (
    RRF_K,
    Candidates,
    Dense,
    EngineFusion,
    Point,
    PointFilter,
    Scored,
    Sparse,
    Summary,
    VectorQuery,
    Visibility,
    Within,
    checksum,
    missing,
)
from retrieval.store.checking import check_ids, check_point, check_query


@dataclass
class FakeStore:
    dimensions: int
    points: dict[str, Point] = field(default_factory=dict[str, Point])

    async def upsert(self, points: Sequence[Point]) -> None:
        for point in points:
            check_point(point, self.dimensions)
            self.points[point.id] = point

    async def show(self, changes: Sequence[Visibility]) -> None:
        for change in changes:
            check_ids(change.ids)
            for identifier in self.points.keys() & set(change.ids):
                self.points[identifier] = replace(
                    self.points[identifier], visible_from=change.visible_from, visible_until=change.visible_until
                )

    async def delete(self, ids: Sequence[str]) -> None:
        check_ids(ids)
        for identifier in ids:
            self.points.pop(identifier, None)

    async def query(self, query: VectorQuery) -> Candidates:
        dense, sparse = check_query(query, self.dimensions)
        seen = [point for point in self.points.values() if _matches(point, query.filter)]
        found = Candidates()
        if dense is not None:
            with_dense = [point for point in seen if point.dense.any()]
            found.dense.extend(_best(with_dense, lambda point: float(point.dense @ dense), query.limit))
        if sparse is not None:
            wanted = dict(zip(sparse.indices, sparse.values, strict=True))
            found.sparse.extend(_best(seen, lambda point: _overlap(point, wanted), query.limit, above=0))
        if dense is not None and sparse is not None:
            by_meaning, by_words = self._scores(dense, sparse)
            lacking = missing(found.dense, found.sparse), missing(found.sparse, found.dense)
            found.dense_rest.extend(_sorted(by_meaning, lacking[0]))
            found.sparse_rest.extend(_sorted(by_words, lacking[1]))
        return found

    async def fused(self, query: VectorQuery, fusion: EngineFusion, dense_weight: float = 0.5) -> list[Scored]:
        found = await self.query(query)
        halves = [(found.dense, 2 * dense_weight), (found.sparse, 2 - 2 * dense_weight)]
        scores = dict[str, float]()
        for half, weight in halves:
            for rank, hit in enumerate(half, 1):
                more = 1 / (RRF_K + rank / weight) if fusion == "rrf" else _place(hit.score, half)
                scores[hit.id] = scores.get(hit.id, 0.0) + more
        return sorted((Scored(*item) for item in scores.items()), key=lambda hit: -hit.score)[: query.limit]

    def _scores(self, dense: Dense, sparse: Sparse) -> tuple[dict[str, float], dict[str, float]]:
        wanted = dict(zip(sparse.indices, sparse.values, strict=True))
        by_meaning = {p.id: float(p.dense @ dense) for p in self.points.values() if p.dense.any()}
        by_words = {p.id: _overlap(p, wanted) for p in self.points.values()}
        return by_meaning, {identifier: score for identifier, score in by_words.items() if score > 0}

    async def summary(self) -> Summary:
        parts = (checksum(p.id, p.visible_from, p.visible_until) for p in self.points.values())
        return Summary(len(self.points), sum(parts) % 2**64)


def _best(points: list[Point], score: Callable[[Point], float], limit: int, above: float = -np.inf) -> list[Scored]:
    scored = [Scored(point.id, score(point)) for point in points]
    return sorted((hit for hit in scored if hit.score > above), key=lambda hit: -hit.score)[:limit]


def _sorted(scores: dict[str, float], ids: list[str]) -> list[Scored]:
    return sorted((Scored(each, scores[each]) for each in ids if each in scores), key=lambda hit: -hit.score)


def _place(score: float, half: list[Scored]) -> float:
    """Between three standard deviations below and above the mean."""
    found = np.array([hit.score for hit in half])
    spread = float(found.std(ddof=1)) if len(found) > 1 else 0.0
    return (score - float(found.mean()) + 3 * spread) / (6 * spread) if spread else 0.5


def _overlap(point: Point, wanted: dict[int, float]) -> float:
    pairs = zip(point.sparse.indices, point.sparse.values, strict=True)
    return sum(value * wanted.get(index, 0.0) for index, value in pairs)


def _matches(point: Point, condition: PointFilter) -> bool:
    return (
        point.collection in condition.collections
        and point.visible_from <= condition.epoch < point.visible_until
        and (not condition.documents or point.document in condition.documents)
        and (not condition.types or point.type in condition.types)
        and set(condition.tags) <= set(point.tags)
        and _dated(point.date, condition.date_from, condition.date_to)
        and all(set(values) & set(point.names.get(name, ())) for name, values in condition.names.items())
        and all(any(_within(point, one) for one in group) for group in condition.numbers)
    )


def _within(point: Point, wanted: Within) -> bool:
    value = point.numbers.get(wanted.field)
    if value is None:
        return False
    return (wanted.above is None or value > wanted.above) and (wanted.upto is None or value <= wanted.upto)


def _dated(date: float | None, start: float | None, end: float | None) -> bool:
    if start is None and end is None:
        return True
    return date is not None and (start is None or date >= start) and (end is None or date <= end)
