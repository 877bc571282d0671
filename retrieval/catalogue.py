"""The catalogue: documents, their versions and text, chunks, and the embeddings kept for rebuilding.

Visibility belongs to versions: a version is seen at every epoch e with visible_from <= e < visible_until. NEVER marks
a version not yet published (`visible_from`) or not yet replaced (`visible_until`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    BindParameter,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    RowMapping,
    String,
    Table,
    Text,
    and_,
    bindparam,
    func,
    or_,
    select,
)

from aegis.database import NAMES_BLOB, Database, Timestamp, metadata
from aegis.database.signals import NoSignals, Signals
from aegis.errors import NotFound
from aegis.scope import Scope, Span

NEVER = 2**53
REPLICA_EPOCH_LIFETIME = 0.2  # seconds a replica goes by the epoch it has read
TEXT_PART = 100_000  # code points per row, so that no row takes long to write

documents = Table(
    "documents",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("owner", String(120), nullable=False),
    Column("collection", String(120), nullable=False, index=True),
    Column("source", Text, nullable=False),  # a URI, or `upload:` and a name
    Column("tags", JSON, nullable=False),
    Column("created_at", Timestamp, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("document_id", ForeignKey("documents.id"), nullable=False, index=True),
    Column("content_hash", String(64), nullable=False, info=NAMES_BLOB),  # sha256 of the original bytes
    Column("visible_from", BigInteger, nullable=False),
    Column("visible_until", BigInteger, nullable=False),
    Column("chunk_count", Integer, nullable=False),
    Column("indexed_at", Timestamp, nullable=False),
    Column("title", Text, nullable=False),
    Column("media_type", String(120), nullable=False),
    Column("chars", Integer, nullable=False),
    Column("dated", Timestamp),  # the document's own date, if it states one
    # Long columns stand last: SQLite walks through them to reach what comes after.
    Column("pages", JSON, nullable=False),  # [[start, "label"], ...] in order: page, slide, sheet
    Column("headings", JSON, nullable=False),  # [[start, level, "heading"], ...] in order
    Column("verdict", JSON, nullable=False),  # what is known of the text's quality; {} when nothing is wrong
)

texts = Table(
    "texts",
    metadata,
    Column("version_id", ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True),
    Column("start", Integer, primary_key=True),  # offset of the part's first code point
    Column("text", Text, nullable=False),
)

chunks = Table(
    "chunks",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("version_id", ForeignKey("versions.id", ondelete="CASCADE"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("text", Text, nullable=False),  # exactly text[start:end] of the version
    Column("page", String(120)),  # label of the page, slide or sheet the chunk starts on
    Column("heading", Text),  # heading path, joined by " > "
    Column("embedded_hash", String(64), nullable=False),  # of the text that was embedded (context + chunk)
    Index("ix_chunks_version_ordinal", "version_id", "ordinal"),
)

embeddings = Table(
    "embeddings",
    metadata,
    Column("text_hash", String(64), primary_key=True),
    Column("embedder", String(80), primary_key=True),
    Column("vector", LargeBinary, nullable=False),  # float16, little endian
)

epochs = Table("epochs", metadata, Column("id", Integer, primary_key=True), Column("value", BigInteger, nullable=False))


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk as retrieval and answers need it. `text == version_text[span.start:span.end]`."""

    id: str
    document_id: str
    version_id: str
    collection: str
    source: str
    title: str
    ordinal: int
    span: Span
    text: str
    page: str | None
    heading: str | None
    visible_from: int
    visible_until: int
    warning: str | None = None  # what is known against the document's text: pages without any, say

    @property
    def embedded_text(self) -> str:
        """What both vectors are made of: the chunk with its title and heading path in front."""
        return embedded_text(self.title, self.heading, self.text)


def embedded_text(title: str, heading: str | None, text: str) -> str:
    context = f"{title} > {heading}" if heading and heading != title else title
    return f"{context}\n{text}"


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


@dataclass(frozen=True, slots=True)
class DocumentFilter:
    """Conditions on documents. Dates are compared with the document's own date."""

    source: str | None = None
    type: str | None = None
    tags: tuple[str, ...] = ()
    date_from: datetime | None = None
    date_to: datetime | None = None


@dataclass(slots=True)
class _ChunkCache:
    """Chunk texts never change under an id, so the rows are kept; visibility is the index's business.

    As plain tuples of strings and numbers: the collector of cycles does not walk those, and 16,000 chunks with their
    spans cost each of its full rounds some 30 ms on a busy machine.
    """

    limit: int = 16_000  # about 25 MB
    rows: dict[str, _Row] = field(default_factory=dict[str, "_Row"])
    beside: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])  # ids by a chunk's id

    def keep(self, found: Iterable[_Row]) -> None:
        for row in found:
            self.rows[row[0]] = row
        while len(self.rows) > self.limit:
            del self.rows[next(iter(self.rows))]

    def keep_beside(self, found: Mapping[str, tuple[str, ...]]) -> None:
        self.beside.update(found)
        while len(self.beside) > self.limit:
            del self.beside[next(iter(self.beside))]

    def forget(self, ids: Iterable[str]) -> None:
        for identifier in ids:
            self.rows.pop(identifier, None)
        self.beside.clear()


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
        self._cache = _ChunkCache()
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
        """Drop cached rows of erased chunks (all rows when ids are not known)."""
        self._cache.forget(list(self._cache.rows) if chunk_ids is None else chunk_ids)

    async def epoch_at(self, moment: datetime) -> int:
        """The epoch that was the newest at that moment."""
        from retrieval.ingestion.publishing import publications  # which is written in terms of the catalogue

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
        found = {identifier: self._cache.rows[identifier] for identifier in ids if identifier in self._cache.rows}
        missing = [identifier for identifier in ids if identifier not in found]
        if missing:
            read = await self._database.look(
                lambda c: [_row(row) for row in c.execute(_BY_ID, {"ids": missing}).mappings()]
            )
            self._cache.keep(read)
            found.update((row[0], row) for row in read)
        ordered = (_chunk(found[identifier]) for identifier in ids if identifier in found)
        return [chunk for chunk in ordered if scope.may_read(chunk.collection)]

    async def beside(self, scope: Scope, ids: Sequence[str]) -> dict[str, list[Chunk]]:
        """By each of these chunks, those just before and after it in its version, as far as the scope may see them."""
        known = {identifier: self._cache.beside[identifier] for identifier in ids if identifier in self._cache.beside}
        if missing := [identifier for identifier in ids if identifier not in known]:
            async with self._database.read() as connection:
                pairs = (await connection.execute(_BESIDE, {"ids": missing})).all()
            found = {one: tuple(other for asked, other in pairs if asked == one) for one in missing}
            self._cache.keep_beside(found)
            known |= found
        wanted = dict.fromkeys(other for others in known.values() for other in others)
        read = {chunk.id: chunk for chunk in await self.chunks(scope, list(wanted))}
        return {one: [read[other] for other in others if other in read] for one, others in known.items()}

    async def chunks_of(self, scope: Scope, version_id: str) -> list[Chunk]:
        query = _CHUNKS.where(chunks.c.version_id == version_id).order_by(chunks.c.ordinal)
        async with self._database.read() as connection:
            found = [_chunk(_row(row)) for row in (await connection.execute(query)).mappings()]
        return [chunk for chunk in found if scope.may_read(chunk.collection)]

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
            )
            .join(versions, versions.c.document_id == documents.c.id)
            .where(documents.c.collection.in_(scope.collections), visible_at(epoch), condition)
            .order_by(documents.c.id)
            .limit(limit)
        )
        async with self._database.read() as connection:
            return [DocumentEntry(**row) for row in (await connection.execute(query)).mappings()]


def visible_at(epoch: int | BindParameter[int]) -> Any:
    return and_(versions.c.visible_from <= epoch, versions.c.visible_until > epoch)


_CHUNKS = (
    select(
        chunks,
        versions.c.document_id,
        versions.c.title,
        versions.c.visible_from,
        versions.c.visible_until,
        versions.c.verdict,
        documents.c.collection,
        documents.c.source,
    )
    .join(versions, versions.c.id == chunks.c.version_id)
    .join(documents, documents.c.id == versions.c.document_id)
)
_NEWEST = select(func.count(), func.max(versions.c.indexed_at)).where(
    versions.c.id.in_(bindparam("versions", expanding=True))
)
_BY_ID = _CHUNKS.where(chunks.c.id.in_(bindparam("ids", expanding=True)))
_ASKED = chunks.alias("asked")
_NEAR = chunks.c.ordinal.between(_ASKED.c.ordinal - 1, _ASKED.c.ordinal + 1)
_BESIDE = (
    select(_ASKED.c.id, chunks.c.id)
    .join(chunks, and_(chunks.c.version_id == _ASKED.c.version_id, _NEAR, chunks.c.id != _ASKED.c.id))
    .where(_ASKED.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(_ASKED.c.id, chunks.c.ordinal)
)


_Row = tuple[Any, ...]  # the fields of a Chunk in order, its span as two numbers


def _row(row: RowMapping) -> _Row:
    warning = (row["verdict"] or {}).get("warning")
    return (*(row[name] for name in _FIELDS), warning)


def _chunk(row: _Row) -> Chunk:
    return Chunk(*row[:7], Span(row[7], row[8]), *row[9:])  # pyright: ignore[reportCallIssue]  # its length is known


_FIELDS = (
    *("id", "document_id", "version_id", "collection", "source", "title", "ordinal", "start", "end"),
    *("text", "page", "heading", "visible_from", "visible_until"),
)
