"""The catalogue: documents by id, by source and in lists, their text, and the epoch that readers go by."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, func, or_, select

from aegis.database import Database
from aegis.database.signals import NoSignals, Signals
from aegis.errors import NotFound
from aegis.scope import Scope
from inference.sharing import is_private, private_among
from retrieval.chunk import Chunk, Chunks
from retrieval.tables import TEXT_PART, documents, epochs, publications, texts, versions, visible_at

REPLICA_EPOCH_LIFETIME = 0.2  # seconds a replica goes by the epoch it has read


@dataclass(frozen=True, slots=True)
class DocumentEntry:
    """One row of a document listing: the version visible at the epoch asked for."""

    id: str
    collection: str
    source: str
    title: str
    media_type: str
    version_id: str
    content_hash: str
    chars: int
    chunk_count: int
    verdict: Mapping[str, Any]
    tags: Sequence[str]
    dated: datetime | None
    indexed_at: datetime
    private: bool = False  # marked, so that it never leaves this machine


@dataclass(frozen=True, slots=True)
class DocumentFilter:
    """Conditions on documents. Dates are compared with the document's own date."""

    source: str | None = None
    type: str | None = None
    tags: tuple[str, ...] = ()
    date_from: datetime | None = None
    date_to: datetime | None = None


@dataclass(slots=True)
class _Epoch:
    """The newest epoch known here. Alone on a store, this process raises it itself; a replica looks again."""

    lifetime: float  # seconds
    value: int = -1
    read_at: float = -math.inf

    def fresh(self) -> bool:
        return time.monotonic() - self.read_at < self.lifetime

    def seen(self, value: int) -> int:
        """It never falls: two reads may overtake each other."""
        self.value, self.read_at = max(self.value, value), time.monotonic()
        return self.value


class Catalogue:
    """Reads, each through a scope. Writing is the business of `versions.py` and `publishing.py`."""

    def __init__(self, database: Database, signals: Signals | None = None) -> None:
        self._database = database
        self._signals = signals or NoSignals()
        self._signals.listen("epoch", self._look_again)
        self._chunks = Chunks(database)
        self._epoch = _Epoch(math.inf if database.dialect == "sqlite" else REPLICA_EPOCH_LIFETIME)
        self._collections: tuple[int, frozenset[str]] | None = None

    async def epoch(self) -> int:
        """The newest epoch readers may see."""
        if self._epoch.fresh():
            return self._epoch.value
        value = await self._database.look(lambda c: c.execute(select(epochs.c.value)).scalar_one_or_none())
        return self._epoch.seen(int(value or 0))

    def epoch_raised(self, value: int) -> None:
        self._epoch.seen(value)
        self._signals.send("epoch")

    def _look_again(self) -> None:
        self._epoch.read_at = -math.inf

    def forget(self, chunk_ids: Iterable[str] | None = None) -> None:
        """Drop what is kept in memory of erased chunks (of all when ids are not known)."""
        self._chunks.forget(chunk_ids)

    async def epoch_at(self, moment: datetime) -> int:
        """The epoch that was the newest at that moment."""
        query = select(func.max(publications.c.epoch)).where(publications.c.closed_at <= moment)
        async with self._database.read() as connection:
            return int((await connection.execute(query)).scalar_one() or 0)

    async def collections(self) -> frozenset[str]:
        """Those with a visible document. Looked up once per epoch."""
        epoch = await self.epoch()
        if self._collections is None or self._collections[0] != epoch:
            seen = select(versions.c.id).where(versions.c.document_id == documents.c.id, visible_at(epoch)).exists()
            async with self._database.read() as connection:
                rows = await connection.execute(select(documents.c.collection).where(seen).distinct())
                self._collections = (epoch, frozenset(row[0] for row in rows))
        return self._collections[1]

    async def chunks(self, scope: Scope, ids: Sequence[str]) -> list[Chunk]:
        """The chunks with these ids that the scope may see, in the order asked for."""
        return await self._chunks.by_id(scope, ids)

    async def beside(self, scope: Scope, ids: Sequence[str]) -> dict[str, list[Chunk]]:
        """By each of these chunks, those just before and after it in its version, as far as the scope may see them."""
        return await self._chunks.beside(scope, ids)

    async def chunks_of(self, scope: Scope, version_id: str) -> list[Chunk]:
        """All chunks of a version, in order."""
        return await self._chunks.of_version(scope, version_id)

    async def document(self, scope: Scope, document_id: str, epoch: int | None = None) -> DocumentEntry:
        """Raises NotFound where there is none that this scope may see at this epoch."""
        found = await self._entries(scope, await self._at(epoch), documents.c.id == document_id, limit=1)
        if not found:
            raise NotFound(f"There is no document {document_id}.", document_id=document_id)
        return found[0]

    async def documents_from(self, scope: Scope, source: str, limit: int = 1000) -> tuple[str, ...]:
        """Ids of documents by source: the whole of it, its file name, or a folder it lies in (ending with /)."""
        name = documents.c.source
        place = name.startswith(source, autoescape=True) if source.endswith("/") else name == source
        condition = or_(place, name.endswith(f"/{source}", autoescape=True), name == f"upload:{source}")
        query = select(documents.c.id).where(documents.c.collection.in_(scope.collections), condition).limit(limit)
        async with self._database.read() as connection:
            return tuple(row[0] for row in await connection.execute(query))

    async def list_documents(
        self, scope: Scope, *, after: str = "", limit: int = 100, epoch: int | None = None
    ) -> list[DocumentEntry]:
        """Visible documents in order of id, those after `after`."""
        return await self._entries(scope, await self._at(epoch), documents.c.id > after, limit=limit)

    async def text(self, scope: Scope, document_id: str, version_id: str | None = None) -> str:
        """The whole text that spans count in; of the visible version unless another is named. Raises NotFound."""
        if version_id is None:
            version_id = (await self.document(scope, document_id)).version_id
        return (await self.text_part(scope, document_id, version_id))[0]

    async def text_part(
        self, scope: Scope, document_id: str, version_id: str, start: int = 0, end: int | None = None
    ) -> tuple[str, int]:
        """text[start:end] of this version, and how many characters the whole has. Raises NotFound."""
        seen = (
            select(versions.c.chars)
            .join(documents, documents.c.id == versions.c.document_id)
            .where(
                versions.c.id == version_id,
                versions.c.document_id == document_id,
                documents.c.collection.in_(scope.collections),
            )
        )
        async with self._database.read() as connection:
            chars = (await connection.execute(seen)).scalar_one_or_none()
            if chars is None:
                raise NotFound(f"There is no document {document_id}.", document_id=document_id)
            stop = chars if end is None else end
            held = and_(texts.c.version_id == version_id, texts.c.start > start - TEXT_PART, texts.c.start < stop)
            query = select(texts.c.start, texts.c.text).where(held).order_by(texts.c.start)
            parts = (await connection.execute(query)).all()
        first = parts[0].start if parts else 0
        return "".join(part.text for part in parts)[start - first : max(0, stop - first)], chars

    async def private(self, document_ids: Iterable[str]) -> frozenset[str]:
        """Those of these documents that must not leave this machine."""
        async with self._database.read() as connection:
            return await private_among(connection, document_ids)

    async def newest(self, version_ids: Sequence[str]) -> datetime | None:
        """When the youngest of these versions was taken in; None where one of them is gone."""
        given = {"versions": list(version_ids)}
        count, newest = await self._database.look(lambda c: c.execute(_NEWEST, given).one())
        return newest if count == len(set(version_ids)) else None

    async def totals(self, scope: Scope, epoch: int | None = None) -> Mapping[str, int]:
        """How many documents and chunks this scope sees."""
        query = (
            select(func.count(), func.coalesce(func.sum(versions.c.chunk_count), 0))
            .select_from(documents.join(versions, versions.c.document_id == documents.c.id))
            .where(documents.c.collection.in_(scope.collections), visible_at(await self._at(epoch)))
        )
        async with self._database.read() as connection:
            count, chunk_count = (await connection.execute(query)).one()
        return {"documents": int(count), "chunks": int(chunk_count)}

    async def _at(self, epoch: int | None) -> int:
        return await self.epoch() if epoch is None else epoch

    async def _entries(self, scope: Scope, epoch: int, condition: Any, limit: int) -> list[DocumentEntry]:
        query = (
            select(
                documents.c.id,
                documents.c.collection,
                documents.c.source,
                documents.c.tags,
                versions.c.title,
                versions.c.media_type,
                versions.c.id.label("version_id"),
                versions.c.content_hash,
                versions.c.chars,
                versions.c.chunk_count,
                versions.c.verdict,
                versions.c.dated,
                versions.c.indexed_at,
                is_private(documents.c.id).label("private"),
            )
            .join(versions, versions.c.document_id == documents.c.id)
            .where(documents.c.collection.in_(scope.collections), visible_at(epoch), condition)
            .order_by(documents.c.id)
            .limit(limit)
        )
        async with self._database.read() as connection:
            return [DocumentEntry(**row) for row in (await connection.execute(query)).mappings()]


_NEWEST = select(func.count(), func.max(versions.c.indexed_at)).where(
    versions.c.id.in_(bindparam("versions", expanding=True))
)
