"""A vector store in a dictionary: exact, without idf. A test double for whoever needs a `VectorStore`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from retrieval.store import Candidates, Point, PointFilter, Scored, Summary, VectorQuery, Visibility, checksum
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
        return found

    async def summary(self) -> Summary:
        parts = (checksum(p.id, p.visible_from, p.visible_until) for p in self.points.values())
        return Summary(len(self.points), sum(parts) % 2**64)


def _best(points: list[Point], score: Callable[[Point], float], limit: int, above: float = -np.inf) -> list[Scored]:
    scored = [Scored(point.id, score(point)) for point in points]
    return sorted((hit for hit in scored if hit.score > above), key=lambda hit: -hit.score)[:limit]


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
    )


def _dated(date: float | None, start: float | None, end: float | None) -> bool:
    if start is None and end is None:
        return True
    return date is not None and (start is None or date >= start) and (end is None or date <= end)
