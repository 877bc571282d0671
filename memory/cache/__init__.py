"""The answer cache: what was answered, kept as long as asking again would find the same.

An entry belongs to one key (who may see its sources, and how was asked: `key.py`) and one question that stands alone.
It names what it rests on (versions of documents, facts, conversations) so that it goes when one of them does, and the
passages a search found for it, so that it can be compared with what a search finds now. Nothing here is the truth:
every adapter may forget at any time.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import orjson

from aegis.errors import InvalidInput
from retrieval.store import Dense, Scored

LEVEL = 1  # of zlib: texts come down to a third, in a tenth of a millisecond


@dataclass(frozen=True, slots=True)
class Entry:
    """`found`, `facts` and `citations` are the state's own records. `epoch` is the last one at which a search found
    the same. `asked` is the question that was answered first, `question` the one this entry is looked up by."""

    id: str
    key: str
    question: str
    asked: str
    answer: str
    citations: Sequence[Mapping[str, Any]]
    found: Sequence[Mapping[str, Any]]
    read: Sequence[str]  # ids of the chunks that the writer read, in its order
    facts: Sequence[Mapping[str, Any]]
    route: str
    model: str
    epoch: int
    rests_on: Sequence[str]  # ids of versions, facts and the conversation
    turn_id: str
    answered_at: str  # ISO 8601
    expires: float  # seconds since 1970
    path: Sequence[str] = ()
    judged: float = 0.0
    notes: Sequence[str] = field(default_factory=tuple[str, ...])

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat(self.answered_at)

    @property
    def cited(self) -> list[str]:
        """Ids of the chunks that the answer cites."""
        return list(dict.fromkeys(str(citation["chunk_id"]) for citation in self.citations))


def packed(entry: Entry) -> bytes:
    return zlib.compress(orjson.dumps(entry), LEVEL)


def unpacked(data: bytes) -> Entry:
    """Raises InvalidInput for what no `packed` of this version has made."""
    try:
        return Entry(**orjson.loads(zlib.decompress(data)))
    except (zlib.error, ValueError, TypeError) as error:
        raise InvalidInput(f"This is no answer of the cache: {error}") from error


class Answers(Protocol):
    """Entries by id. What has expired is not there. Never raises: what cannot be reached is not there.

    Adapters: `process.py`, `redis.py`.
    """

    async def get(self, id: str) -> Entry | None: ...

    async def put(self, entry: Entry) -> None:
        """Replaces what stands under this id; the oldest go where there are too many."""
        ...

    async def evict(self, sources: Collection[str]) -> list[str]:
        """Forget what rests on any of these; the ids of what is gone."""
        ...

    async def remove(self, ids: Collection[str]) -> None: ...


class Questions(Protocol):
    """Vectors of questions by entry id, each under one key. Never raises. Adapters: `questions.py`."""

    async def add(self, key: str, id: str, vector: Dense) -> None: ...

    async def near(self, key: str, vector: Dense, limit: int) -> list[Scored]:
        """The nearest under this key and no other, nearest first; scores are cosines."""
        ...

    async def remove(self, ids: Collection[str]) -> None: ...
