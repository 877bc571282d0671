"""Points for the tests of the vector stores."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np

from retrieval.store import Dense, Point, PointFilter, Sparse, VectorQuery

DIMENSIONS = 16
NEVER = 2**53
EPOCH = 5


def identifier(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def axis(number: int, dimensions: int = DIMENSIONS) -> Dense:
    vector = np.zeros(dimensions, np.float32)
    vector[number % dimensions] = 1
    return vector


def point(number: int, **changes: Any) -> Point:
    """Point `number` lies on axis `number` and has token `number`."""
    given: dict[str, Any] = {
        "id": identifier(number),
        "dense": axis(number),
        "sparse": Sparse((number,), (1.0,)),
        "collection": "default",
        "document": "d1",
        "type": "text/plain",
        "visible_from": 1,
        "visible_until": NEVER,
    }
    return Point(**{**given, **changes})


def query(number: int, *, limit: int = 100, dense: bool = True, sparse: bool = True, **conditions: Any) -> VectorQuery:
    """Looks for point `number` by both halves."""
    given: dict[str, Any] = {"collections": frozenset({"default"}), "epoch": EPOCH, **conditions}
    condition = PointFilter(**given)
    return VectorQuery(condition, limit, axis(number) if dense else None, Sparse((number,), (1.0,)) if sparse else None)


def random_points(count: int, dimensions: int, seed: int = 7) -> list[Point]:
    """Unit vectors in all directions, 30 tokens of 5,000 each, five collections, documents of 20 points."""
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((count, dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    made: list[Point] = []
    for number in range(count):
        tokens = tuple(int(token) for token in random.choice(5000, 30, replace=False))
        weights = tuple(float(weight) for weight in random.uniform(0.5, 2, 30))
        made.append(
            Point(
                id=identifier(number),
                dense=vectors[number],
                sparse=Sparse(tokens, weights),
                collection=f"c{number % 5}",
                document=f"d{number // 20}",
                type="text/plain",
                visible_from=1,
                visible_until=NEVER,
                tags=("a", "b") if number % 3 == 0 else (),
                date=float(number) if number % 2 else None,
            )
        )
    return made


def like(wanted: Point, *, limit: int = 10, collections: frozenset[str] | None = None) -> VectorQuery:
    """A query made of a point's own vectors."""
    seen = collections or frozenset({wanted.collection})
    return VectorQuery(PointFilter(seen, EPOCH), limit, wanted.dense, wanted.sparse)
