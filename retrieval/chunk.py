"""Chunks as retrieval and answers need them, read by their ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import RowMapping, and_, bindparam, select

from aegis.database import Database
from aegis.scope import Scope, Span
from retrieval.tables import chunks, documents, versions


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


class Chunks:
    """Reads, each through a scope. Whoever erases a chunk says so (`forget`)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache = _ChunkCache()

    def forget(self, ids: Iterable[str] | None = None) -> None:
        """Drop cached rows of erased chunks (all rows when ids are not known)."""
        self._cache.forget(list(self._cache.rows) if ids is None else ids)

    async def by_id(self, scope: Scope, ids: Sequence[str]) -> list[Chunk]:
        """Those that the scope may see, in the order asked for."""
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
            pairs = await self._database.look(lambda c: c.execute(_BESIDE, {"ids": missing}).all())
            found = {one: tuple(other for asked, other in pairs if asked == one) for one in missing}
            self._cache.keep_beside(found)
            known |= found
        wanted = dict.fromkeys(other for others in known.values() for other in others)
        read = {chunk.id: chunk for chunk in await self.by_id(scope, list(wanted))}
        return {one: [read[other] for other in others if other in read] for one, others in known.items()}

    async def of_version(self, scope: Scope, version_id: str) -> list[Chunk]:
        """All of them, in order."""
        query = _CHUNKS.where(chunks.c.version_id == version_id).order_by(chunks.c.ordinal)
        async with self._database.read() as connection:
            found = [_chunk(_row(row)) for row in (await connection.execute(query)).mappings()]
        return [chunk for chunk in found if scope.may_read(chunk.collection)]


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
