"""Points and hits, between messages and the engine."""

from __future__ import annotations

import struct
from typing import Any

import qdrant_edge as edge


def point_of(
    identifier: str, dense: bytes, indices: tuple[int, ...], values: tuple[float, ...], payload: dict[str, Any]
) -> Any:
    vectors: dict[str, Any] = {}
    if dense:
        vectors["dense"] = _floats(dense)
    if indices:
        vectors["sparse"] = edge.SparseVector(list(indices), list(values))
    return edge.Point(identifier, vectors, payload)


def asked_by(dense: bytes | None, sparse: tuple[tuple[int, ...], tuple[float, ...]] | None) -> list[Any]:
    asked: list[Any] = []
    if dense is not None:
        asked.append(edge.Query.Nearest(_floats(dense), using="dense"))
    if sparse is not None:
        asked.append(edge.Query.Nearest(edge.SparseVector(list(sparse[0]), list(sparse[1])), using="sparse"))
    return asked


def packed(half: list[Any]) -> tuple[str, bytes]:
    return " ".join([str(hit.id) for hit in half]), struct.pack(f"{len(half)}d", *[hit.score for hit in half])


def _floats(data: bytes) -> list[float]:
    return list(struct.unpack(f"{len(data) // 4}f", data))
