"""What may go into a vector store, checked the same for every adapter. All raise InvalidInput."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from uuid import UUID

import numpy as np

from aegis.errors import InvalidInput
from retrieval.store import Dense, Point, Sparse, VectorQuery

MOST_CANDIDATES = 10_000
_CANONICAL = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def check_ids(ids: Iterable[str]) -> None:
    for identifier in ids:
        if _CANONICAL.fullmatch(identifier):
            continue
        try:
            canonical = str(UUID(identifier))
        except ValueError as error:
            raise InvalidInput(f"a point's id is a UUID, not {identifier[:60]!r}") from error
        if canonical != identifier:
            raise InvalidInput(f"write the point id {identifier!r} as {canonical!r}")


def check_point(point: Point, dimensions: int) -> Dense:
    """Returns the dense vector as contiguous float32."""
    check_ids((point.id,))
    _check_sparse(point.sparse)
    for text in (point.collection, point.document, point.type, *point.tags, *_all(point.names)):
        _check_text(text)
    if not all(map(math.isfinite, point.numbers.values())):
        raise InvalidInput(f"point {point.id} has a number that is not finite")
    if point.date is not None and not math.isfinite(point.date):
        raise InvalidInput(f"point {point.id}: its date is {point.date}, not a number of seconds")
    return _check_dense(point.dense, dimensions)


def check_query(query: VectorQuery, dimensions: int) -> tuple[Dense | None, Sparse | None]:
    """The halves worth asking for; none when nothing can be found."""
    if not 0 <= query.limit <= MOST_CANDIDATES:
        raise InvalidInput(f"a query's limit is {query.limit}, choose 0 to {MOST_CANDIDATES}")
    dense = None if query.dense is None else _check_dense(query.dense, dimensions)
    if query.sparse is not None:
        _check_sparse(query.sparse)
    condition = query.filter
    for text in (*condition.collections, *condition.documents, *condition.types, *condition.tags):
        _check_text(text)
    for text in _all(condition.names):
        _check_text(text)
    if not condition.collections or query.limit == 0:
        return None, None
    return dense, query.sparse if query.sparse and query.sparse.indices else None


def _all(names: Mapping[str, tuple[str, ...]]) -> list[str]:
    return [text for texts in names.values() for text in texts]


def _check_dense(vector: Dense, dimensions: int) -> Dense:
    if vector.shape != (dimensions,):
        raise InvalidInput(f"a vector has shape {vector.shape}, this index takes ({dimensions},)")
    if not np.isfinite(vector).all():
        raise InvalidInput("a vector holds a value that is not a finite number")
    return np.ascontiguousarray(vector, dtype=np.float32)


def _check_sparse(sparse: Sparse) -> None:
    indices, values = sparse.indices, sparse.values
    if len(indices) != len(values) or len(set(indices)) != len(indices):
        raise InvalidInput("a sparse vector needs one value for each of its indices, and no index twice")
    if indices and (min(indices) < 0 or max(indices) >= 2**32):
        raise InvalidInput("a sparse vector's indices go from 0 to 2^32 - 1")
    if not all(map(math.isfinite, values)):
        raise InvalidInput("a sparse vector holds a value that is not a finite number")


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{text[:60]!a} cannot be written as UTF-8") from error
