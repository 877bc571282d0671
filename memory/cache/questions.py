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
        self._kept: OrderedDict[str, _Rows] = OrderedDict()
        self._keys: dict[str, str] = {}  # id -> key

    async def add(self, key: str, id: str, vector: Dense) -> None:
        await self.remove([id])
        rows = self._kept.setdefault(key, _Rows(len(vector)))
        rows.add(id, vector)
        self._keys[id] = key
        self._kept.move_to_end(key)
        if len(rows.ids) > PER_KEY:
            await self.remove([rows.ids[0]])
        while len(self._keys) > self._limit:
            await self.remove([next(iter(self._kept.values())).ids[0]])

    async def near(self, key: str, vector: Dense, limit: int) -> list[Scored]:
        if key not in self._kept:
            return []
        self._kept.move_to_end(key)
        ids, cosines = self._kept[key].ids, self._kept[key].vectors @ vector
        best = np.argsort(-cosines, kind="stable")[:limit]
        return [Scored(ids[place], float(cosines[place])) for place in best]

    async def remove(self, ids: Collection[str]) -> None:
        for id in ids:
            key = self._keys.pop(id, None)
            if key is None:
                continue
            self._kept[key].remove(id)
            if not self._kept[key].ids:
                del self._kept[key]


class _Rows:
    """One key's vectors in order of arrival, at hand as one matrix, which grows by half."""

    def __init__(self, width: int) -> None:
        self.ids: list[str] = []
        self._room = np.empty((16, width), np.float32)

    @property
    def vectors(self) -> Dense:
        return self._room[: len(self.ids)]

    def add(self, id: str, vector: Dense) -> None:
        if len(self.ids) == len(self._room):
            self._room = np.concatenate([self._room, np.empty_like(self._room[: len(self._room) // 2])])
        self._room[len(self.ids)] = vector
        self.ids.append(id)

    def remove(self, id: str) -> None:
        place = self.ids.index(id)
        del self.ids[place]
        self._room[place : len(self.ids)] = self._room[place + 1 : len(self.ids) + 1]


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
