"""Vectors of the questions that have answers, by key.

In one process an exact scan: a key seldom has more than some hundred questions, and 2,000 x 256 products take a tenth
of a millisecond, less than a call to an engine. Replicas share a collection of their own on the Qdrant server, which
holds nothing that cannot be lost: when it has too many, it is emptied.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Collection

import numpy as np

from aegis.errors import AegisError
from retrieval.projection import Resettable
from retrieval.store import Dense, Point, PointFilter, Scored, Sparse, VectorQuery
from retrieval.tables import NEVER

PER_KEY = 2_000
PATIENCE = 5.0  # seconds that a store which failed is left alone

logger = logging.getLogger(__name__)


class ExactQuestions:
    """At most `limit` vectors in all, PER_KEY under one key; the keys that were not used for longest go first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rows: OrderedDict[str, OrderedDict[str, Dense]] = OrderedDict()
        self._stacked: dict[str, tuple[list[str], Dense]] = {}
        self._keys: dict[str, str] = {}  # id -> key

    async def add(self, key: str, id: str, vector: Dense) -> None:
        await self.remove([id])
        rows = self._rows.setdefault(key, OrderedDict())
        rows[id] = np.asarray(vector, dtype=np.float32)
        self._keys[id] = key
        self._rows.move_to_end(key)
        self._stacked.pop(key, None)
        if len(rows) > PER_KEY:
            await self.remove([next(iter(rows))])
        while len(self._keys) > self._limit:
            await self.remove([next(iter(next(iter(self._rows.values()))))])

    async def near(self, key: str, vector: Dense, limit: int) -> list[Scored]:
        if key not in self._rows:
            return []
        self._rows.move_to_end(key)
        if key not in self._stacked:
            self._stacked[key] = (list(self._rows[key]), np.stack(list(self._rows[key].values())))
        ids, rows = self._stacked[key]
        cosines = rows @ vector
        best = np.argsort(-cosines, kind="stable")[:limit]
        return [Scored(ids[place], float(cosines[place])) for place in best]

    async def remove(self, ids: Collection[str]) -> None:
        for id in ids:
            key = self._keys.pop(id, None)
            if key is None:
                continue
            del self._rows[key][id]
            self._stacked.pop(key, None)
            if not self._rows[key]:
                del self._rows[key]


class StoredQuestions:
    """In a vector store of their own, which is emptied when more than `limit` were added. `collection` is the key."""

    def __init__(self, store: Resettable, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._added = 0
        self._away_until = 0.0

    async def add(self, key: str, id: str, vector: Dense) -> None:
        if self._away():
            return
        try:
            self._added += 1
            if self._added > self._limit // 10:  # counting pages through all points
                self._added = 0
                if (await self._store.summary()).count >= self._limit:
                    await self._store.reset("the questions of the answer cache are many")
            await self._store.upsert([Point(id, vector, Sparse((), ()), key, id, "question", 0, NEVER)])
        except AegisError as error:
            self._left(error)

    async def near(self, key: str, vector: Dense, limit: int) -> list[Scored]:
        if self._away():
            return []
        try:
            query = VectorQuery(PointFilter(frozenset({key}), 0), limit, dense=vector)
            return (await self._store.query(query)).dense
        except AegisError as error:
            self._left(error)
            return []

    async def remove(self, ids: Collection[str]) -> None:
        if not ids or self._away():
            return
        try:
            await self._store.delete(list(ids))
        except AegisError as error:
            self._left(error)

    def _away(self) -> bool:
        return time.monotonic() < self._away_until

    def _left(self, error: AegisError) -> None:
        logger.warning("Near questions are not looked up for %g s: %s", PATIENCE, error)
        self._away_until = time.monotonic() + PATIENCE
