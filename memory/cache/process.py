"""Answers kept in this process: compressed, each until it expires, the least used ones going first."""

from __future__ import annotations

import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection

from memory.cache import Entry, packed, unpacked


class ProcessAnswers:
    """At most `limit` entries."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.time) -> None:
        self._limit = limit
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, bytes, tuple[str, ...]]] = OrderedDict()  # id -> until, entry, rests
        self._resting: defaultdict[str, set[str]] = defaultdict(set)  # source -> ids

    async def get(self, id: str) -> Entry | None:
        kept = self._kept.get(id)
        if kept is None:
            return None
        if kept[0] <= self._clock():
            self._drop(id)
            return None
        self._kept.move_to_end(id)
        return unpacked(kept[1])

    async def put(self, entry: Entry) -> None:
        self._drop(entry.id)
        self._kept[entry.id] = (entry.expires, packed(entry), tuple(entry.rests_on))
        for source in entry.rests_on:
            self._resting[source].add(entry.id)
        while len(self._kept) > self._limit:
            self._drop(next(iter(self._kept)))

    async def evict(self, sources: Collection[str]) -> list[str]:
        gone = sorted({id for source in sources for id in self._resting.get(source, ())})
        for id in gone:
            self._drop(id)
        return gone

    async def remove(self, ids: Collection[str]) -> None:
        for id in ids:
            self._drop(id)

    def _drop(self, id: str) -> None:
        kept = self._kept.pop(id, None)
        for source in kept[2] if kept else ():
            self._resting[source].discard(id)
            if not self._resting[source]:
                del self._resting[source]
