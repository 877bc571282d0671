"""Writing a document's version: text, chunks, embeddings, what was drawn from it, and the outbox rows.

In short transactions, each whole in itself: the version row first, which names the version and is seen by nobody,
then slices of chunks with everything that belongs to them. Killed in between, the slices that are there are known
by their ids and passed over. How many chunks a transaction takes follows from how long the last ones took.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis import telemetry
from aegis.database import Database
from aegis.database.outbox import Outbox, append, put
from aegis.database.schema import insert_missing
from aegis.errors import AegisError
from aegis.scope import Span, chunk_id, text_hash, version_id
from inference.paying import paid_by
from inference.sharing import private_among
from retrieval.chunk import embedded_text
from retrieval.embedding import Embedder
from retrieval.ingestion.preparing import GraphSink, Prepared
from retrieval.splitting import Piece
from retrieval.tables import NEVER, TEXT_PART, chunks, documents, embeddings, texts, versions

CHUNKS_TOPIC = "chunks"  # {"version", "first", "last"}: chunks by ordinal, both included, to be written
VISIBILITY_TOPIC = "visibility"  # {"version"}: its epochs have changed
ERASED_TOPIC = "erased"  # {"ids"}: chunks that are no more
SLICE = 100  # chunks of one transaction, at most
EMBEDDED = 32  # chunks embedded at a time, however small the transactions are
AIM = 0.01  # seconds a transaction should take; 50 ms is the bound
SMALLEST = 4
_CHUNKS = insert(chunks)
_BEGIN = 4  # what a version's row weighs, in chunks
_PART = 25  # what a part of the text weighs, in chunks

Step = Callable[[str], None]
InTransaction = Callable[[Connection], None]
_KNOWN = select(embeddings.c.text_hash).where(
    embeddings.c.text_hash.in_(bindparam("hashes", expanding=True)), embeddings.c.embedder == bindparam("named")
)


@dataclass(frozen=True, slots=True)
class Target:
    """Which document a file becomes a version of, and how it is described."""

    document_id: str
    owner: str
    collection: str
    source: str
    tags: tuple[str, ...]
    content_hash: str


@dataclass(frozen=True, slots=True)
class Planned:
    """A chunk with its id, what it is embedded as, and what was drawn from it."""

    id: str
    ordinal: int
    piece: Piece
    embedded: str
    embedded_hash: str
    extract: Any


@dataclass(slots=True)
class Pace:
    """How many chunks the next transaction takes."""

    size: int = SLICE // 4

    def took(self, seconds: float) -> None:
        if seconds > AIM:
            self.size = max(SMALLEST, int(self.size * max(0.25, AIM / seconds)))
        elif seconds < AIM / 2:
            self.size = min(SLICE, self.size + self.size // 4 + 1)


@dataclass(frozen=True, slots=True)
class Versions:
    database: Database
    outbox: Outbox
    embedder: Callable[[], Embedder]  # the current one; another may take its place between two calls
    sink: GraphSink
    now: Callable[[], datetime]
    pace: Pace = field(default_factory=Pace)

    async def next_id(self, document_id: str, content_hash: str) -> str:
        """The same until that version has been published; another one after that (A, B, then A again)."""
        published = select(func.count()).where(
            versions.c.document_id == document_id,
            versions.c.content_hash == content_hash,
            versions.c.visible_from < NEVER,
        )
        async with self.database.read() as connection:
            generation = (await connection.execute(published)).scalar_one()
        return version_id(document_id, content_hash, int(generation))

    async def write(
        self,
        target: Target,
        version: str,
        prepared: Prepared,
        *,
        hold: InTransaction,
        first: InTransaction,
        last: InTransaction,
        step: Step,
        begun: bool = True,
    ) -> int:
        """Returns the number of chunks. `hold` runs at the start of every transaction, and may refuse it; `first` and
        `last` run inside the first and last.

        `begun` False promises that nothing of this version has been written before.
        """
        planned = await asyncio.to_thread(plan, version, prepared)
        kept = await self._kept(version, planned) if begun else set[str]()
        row = _version_row(target, version, prepared, len(planned), self.now())
        batch = _Batch(self.database, self.pace, hold, partial(self._drawn, target, version))
        await batch.add(self._begin(target, row), _BEGIN, then=[self._tagged(target), first])
        for part in _parts(version, prepared.document.text):
            await batch.add(part, _PART)
        waiting = [chunk for chunk in planned if chunk.id not in kept]
        for at in range(0, len(waiting), EMBEDDED):
            group = waiting[at : at + EMBEDDED]
            step("embedding")
            try:
                with paid_by(target.owner):
                    vectors = await self._embed(target.document_id, group)
            except AegisError:
                await batch.flush()  # what was embedded before it is kept: somebody may have paid for it
                raise
            step("writing")
            while group:
                taken, group = group[: self.pace.size], group[self.pace.size :]
                await batch.add(self._slice(version, taken, vectors), len(taken), taken)
        batch.ends.append(last)
        await batch.flush()
        self.outbox.wake()
        telemetry.CHUNKS.inc(len(planned))
        return len(planned)

    async def discard(self, version: str) -> None:
        """Take away a version that nobody sees, with all that was written for it. Nothing happens when it is gone."""
        async with self.database.write() as connection:
            await self.sink.remove(connection, version)
        while found := await self._chunk_ids(version, SLICE):
            async with self.database.write() as connection:
                await connection.execute(delete(chunks).where(chunks.c.id.in_(found)))
                await append(connection, ERASED_TOPIC, [{"ids": found}])
        async with self.database.write() as connection:
            await self._end(connection, version)
        self.outbox.wake()

    def _begin(self, target: Target, row: dict[str, Any]) -> InTransaction:
        document = {
            "id": target.document_id,
            "owner": target.owner,
            "collection": target.collection,
            "source": target.source,
            "tags": list(target.tags),
            "created_at": self.now(),
        }

        def keep(connection: Connection) -> None:
            dialect = connection.dialect.name
            connection.execute(insert_missing(documents, dialect), document)
            connection.execute(insert_missing(versions, dialect), row)

        return keep

    def _tagged(self, target: Target) -> InTransaction:
        change = update(documents).where(documents.c.id == target.document_id).values(tags=list(target.tags))

        def keep(connection: Connection) -> None:
            if target.tags:  # a document that was there keeps its own, unless told
                connection.execute(change)

        return keep

    def _slice(self, version: str, taken: Sequence[Planned], vectors: Mapping[str, dict[str, Any]]) -> InTransaction:
        rows = [_row(version, chunk) for chunk in taken]
        hashes = dict.fromkeys(chunk.embedded_hash for chunk in taken)
        embedded = [vectors[digest] for digest in hashes if digest in vectors]
        sequence = {"version": version, "first": taken[0].ordinal, "last": taken[-1].ordinal}

        def keep(connection: Connection) -> None:
            if embedded:
                connection.execute(insert_missing(embeddings, connection.dialect.name), embedded)
            connection.execute(_CHUNKS, rows)
            put(connection, CHUNKS_TOPIC, [sequence])

        return keep

    def _drawn(self, target: Target, version: str, taken: Sequence[Planned]) -> InTransaction:
        ids, extracts = [chunk.id for chunk in taken], [chunk.extract for chunk in taken]
        return self.sink.writing(target.collection, target.document_id, version, ids, extracts)

    async def _embed(self, document_id: str, taken: Sequence[Planned]) -> dict[str, dict[str, Any]]:
        """Rows of embeddings that are not kept yet, by hash. All are rounded to float16 before anybody uses them.

        None of a private document, where the embedder is elsewhere: its chunks are found by their words only.
        """
        embedder = self.embedder()
        wanted = {chunk.embedded_hash: chunk.embedded for chunk in taken}
        given = {"hashes": list(wanted), "named": embedder.name}
        for known in await self.database.look(lambda c: c.execute(_KNOWN, given).scalars().all()):
            wanted.pop(known)
        if embedder.elsewhere and wanted and await self._private(document_id):  # asked anew: it may be marked any time
            return {}
        rows = embedding_rows(embedder, list(wanted), await embedder.embed(list(wanted.values())))
        return {row["text_hash"]: row for row in rows}

    async def _private(self, document_id: str) -> bool:
        async with self.database.read() as connection:
            return bool(await private_among(connection, [document_id]))

    async def _kept(self, version: str, planned: Sequence[Planned]) -> set[str]:
        """Ids of chunks written before a crash; if they are not as planned now, they are taken away first."""
        query = select(chunks.c.id, chunks.c.embedded_hash).where(chunks.c.version_id == version)
        async with self.database.read() as connection:
            found = {(row[0], row[1]) for row in await connection.execute(query)}
        if found - {(chunk.id, chunk.embedded_hash) for chunk in planned}:
            await self.discard(version)
            return set()
        return {identifier for identifier, _ in found}

    async def _chunk_ids(self, version: str, limit: int) -> list[str]:
        query = select(chunks.c.id).where(chunks.c.version_id == version).limit(limit)
        async with self.database.read() as connection:
            return [row[0] for row in await connection.execute(query)]

    async def _end(self, connection: AsyncConnection, version: str) -> None:
        await connection.execute(delete(texts).where(texts.c.version_id == version))
        document = select(versions.c.document_id).where(versions.c.id == version)
        owner = (await connection.execute(document)).scalar_one_or_none()
        await connection.execute(delete(versions).where(versions.c.id == version))
        others = select(versions.c.id).where(versions.c.document_id == documents.c.id).exists()
        await connection.execute(delete(documents).where(documents.c.id == owner, ~others))


@dataclass(slots=True)
class _Batch:
    """Gathers work into transactions of about the size that the pace allows.

    What reads comes first and what changes rows last: SQLite is held from the first of these to the commit only.
    """

    database: Database
    pace: Pace
    hold: InTransaction
    draw: Callable[[Sequence[Planned]], InTransaction]
    taken: list[Planned] = field(default_factory=list[Planned])
    works: list[InTransaction] = field(default_factory=list[InTransaction])
    ends: list[InTransaction] = field(default_factory=list[InTransaction])
    weight: int = 0

    async def add(
        self,
        work: InTransaction,
        weight: int,
        taken: Sequence[Planned] = (),
        then: Sequence[InTransaction] = (),
    ) -> None:
        if self.works and self.weight + weight > self.pace.size:
            await self.flush()
        self.works.append(work)
        self.taken += taken
        self.ends += then
        self.weight += weight

    async def flush(self) -> None:
        if not (self.works or self.ends):
            return
        drawn = [self.draw(self.taken)] if self.taken else []
        works, started = (self.hold, *drawn, *self.works, *self.ends), 0.0

        def unit(connection: Connection) -> None:
            nonlocal started
            started = time.perf_counter()
            for work in works:
                work(connection)

        await self.database.transact(unit, bulk=True)
        self.pace.took(time.perf_counter() - started)
        self.taken, self.works, self.ends, self.weight = [], [], [], 0


def _parts(version: str, text: str) -> Iterator[InTransaction]:
    for start in range(0, len(text), TEXT_PART):
        row = {"version_id": version, "start": start, "text": text[start : start + TEXT_PART]}

        def keep(connection: Connection, row: dict[str, Any] = row) -> None:
            connection.execute(insert_missing(texts, connection.dialect.name), row)

        yield keep


def plan(version: str, prepared: Prepared) -> list[Planned]:
    """Chunks with their ids. Two pieces of the same span would be one chunk, so the second is left out."""
    made: dict[Span, Planned] = {}
    for piece, extract in zip(prepared.pieces, prepared.extracts, strict=True):
        if piece.span in made:
            continue
        embedded = embedded_text(prepared.document.title, piece.heading, piece.text)
        identifier = chunk_id(version, piece.span)
        made[piece.span] = Planned(identifier, len(made), piece, embedded, text_hash(embedded), extract)
    return list(made.values())


def embedding_rows(embedder: Embedder, hashes: Sequence[str], vectors: Any) -> list[dict[str, Any]]:
    """Rows of the table `embeddings`; vectors shape (len(hashes), dimensions)."""
    return [
        {"text_hash": digest, "embedder": embedder.name, "vector": np.asarray(vector).astype("<f2").tobytes()}
        for digest, vector in zip(hashes, vectors, strict=True)
    ]


def _row(version: str, chunk: Planned) -> dict[str, Any]:
    piece = chunk.piece
    return {
        "id": chunk.id,
        "version_id": version,
        "ordinal": chunk.ordinal,
        "start": piece.span.start,
        "end": piece.span.end,
        "text": piece.text,
        "page": piece.page,
        "heading": piece.heading,
        "embedded_hash": chunk.embedded_hash,
    }


def _version_row(target: Target, version: str, prepared: Prepared, count: int, now: datetime) -> dict[str, Any]:
    document = prepared.document
    return {
        "id": version,
        "document_id": target.document_id,
        "content_hash": target.content_hash,
        "title": document.title,
        "media_type": document.media_type,
        "chars": len(document.text),
        "pages": [list(page) for page in document.pages],
        "headings": [list(heading) for heading in document.headings],
        "verdict": dict(document.verdict),
        "dated": document.dated,
        "chunk_count": count,
        "indexed_at": now,
        "visible_from": NEVER,
        "visible_until": NEVER,
    }
