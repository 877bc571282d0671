"""The vector store: a port and its value types. Adapters: `edge.py` (a child process of ours), `server.py`.

A projection of the catalogue. Points carry a dense vector, a BM25 vector, and as indexed payload what searches
filter on: collection, document, type, tags, date, visible_from, visible_until. A store that is opened with further
`Fields` filters on those, too: facts have their times there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Dense = NDArray[np.float32]
EngineFusion = Literal["rrf", "dbsf"]
Fields = Mapping[str, Literal["keyword", "number"]]
"""Indexed fields of a store beside those that every point has."""
RRF_K = 60


@dataclass(frozen=True, slots=True)
class Sparse:
    """A sparse vector: token indices (uint32) and their weights, same length."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Point:
    id: str
    dense: Dense
    sparse: Sparse
    collection: str
    document: str
    type: str
    visible_from: int
    visible_until: int
    tags: tuple[str, ...] = ()
    date: float | None = None  # the document's own date, seconds since 1970
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])  # of its store's Fields
    numbers: Mapping[str, float] = field(default_factory=dict[str, float])  # of its store's Fields


@dataclass(frozen=True, slots=True)
class Within:
    """A number of the point lies above one bound and not above the other."""

    field: str
    above: float | None = None
    upto: float | None = None


@dataclass(frozen=True, slots=True)
class Visibility:
    """New epochs for points that are there already; ids that are not are passed over."""

    ids: tuple[str, ...]
    visible_from: int
    visible_until: int


@dataclass(frozen=True, slots=True)
class PointFilter:
    """All conditions hold together. `collections` empty means: nothing is visible."""

    collections: frozenset[str]
    epoch: int
    documents: tuple[str, ...] = ()  # any of these; empty: all
    types: tuple[str, ...] = ()  # any of these; empty: all
    tags: tuple[str, ...] = ()  # all of these
    date_from: float | None = None
    date_to: float | None = None
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])  # any of these, per field
    numbers: tuple[tuple[Within, ...], ...] = ()  # of each group at least one


@dataclass(frozen=True, slots=True)
class VectorQuery:
    """What to look for; either half may be missing. Each half returns its own best `limit` points."""

    filter: PointFilter
    limit: int
    dense: Dense | None = None
    sparse: Sparse | None = None


class Scored(NamedTuple):
    """A tuple, because a search makes several hundred."""

    id: str
    score: float


@dataclass(frozen=True, slots=True)
class Candidates:
    """Best points of each half, best first; a half that was not asked for is empty.

    The rest of a half: what the points that only the other half found score in this one, where they score at all.
    """

    dense: list[Scored] = field(default_factory=list[Scored])
    sparse: list[Scored] = field(default_factory=list[Scored])
    dense_rest: list[Scored] = field(default_factory=list[Scored])
    sparse_rest: list[Scored] = field(default_factory=list[Scored])


def missing(half: Sequence[Scored], other: Sequence[Scored]) -> list[str]:
    """Ids of the points that only the other half has."""
    known = {found.id for found in half}
    return [found.id for found in other if found.id not in known]


@dataclass(frozen=True, slots=True)
class Summary:
    """For comparing with the catalogue: `checksum` is `checksum()` below over all points."""

    count: int
    checksum: int


def checksum(point_id: str, visible_from: int, visible_until: int) -> int:
    """One point's part of a Summary; parts are added modulo 2^64, so order does not matter."""
    low = int(point_id[-12:], 16) ^ int(point_id[:8], 16)
    return (low * 0x9E3779B97F4A7C15 + visible_from * 0xC2B2AE3D27D4EB4F + visible_until * 0x165667B19E3779F9) & (
        2**64 - 1
    )


class VectorStore(Protocol):
    """Raises IndexUnavailable when the engine cannot be reached; then every call may be repeated."""

    async def upsert(self, points: Sequence[Point]) -> None: ...

    async def show(self, changes: Sequence[Visibility]) -> None:
        """Set the epochs of existing points."""
        ...

    async def delete(self, ids: Sequence[str]) -> None: ...

    async def query(self, query: VectorQuery) -> Candidates: ...

    async def fused(self, query: VectorQuery, fusion: EngineFusion, dense_weight: float = 0.5) -> list[Scored]:
        """Both halves fused by the engine, best first, at most `limit`: reciprocal ranks (k = 60; at equal weights
        the sum of 1 / (k + rank), else 1 / (k + rank / weight) with weights that add up to 2) or distribution-based
        scores, which know no weight."""
        ...

    async def summary(self) -> Summary: ...
