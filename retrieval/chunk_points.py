"""Chunks as points: the projection of the catalogue that searches go through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Integer, RowMapping, Select, and_, bindparam, func, or_, select, tuple_

from aegis.database import Database
from aegis.database.outbox import OutboxRow, outbox
from aegis.database.schema import insert_missing
from inference.sharing import private_among
from retrieval.chunk import embedded_text
from retrieval.embedding import Embedder
from retrieval.indexes import projection_name
from retrieval.ingestion.versions import CHUNKS_TOPIC, VISIBILITY_TOPIC, embedding_rows
from retrieval.keywords import KeywordEncoder
from retrieval.projection import CHUNK_TOPICS, POINTS, Resettable
from retrieval.store import Point, Summary, Visibility, checksum
from retrieval.tables import chunks, documents, embeddings, versions

IDS = 500  # chunk ids looked up at a time
RANGES = 20  # of chunks, each of one version, that one statement looks up
SUMMED = 2000  # chunks whose checksums are added at a time


class ChunkPoints:
    """Chunks, their embeddings and BM25 vectors as points."""

    topics = CHUNK_TOPICS

    def __init__(self, database: Database, store: Resettable, embedder: Embedder, encoder: KeywordEncoder) -> None:
        self.name = projection_name(embedder.name)
        self.store = store
        self._database = database
        self._embedder = embedder
        self._encoder = encoder
        self._all = _points(embedder.name)
        self._those = self._all.where(or_(*(_between(place) for place in range(RANGES))))

    async def apply(self, rows: Sequence[OutboxRow]) -> None:
        for topic, group in groupby(rows, key=lambda row: row.topic):
            payloads = [row.payload for row in group]
            if topic == CHUNKS_TOPIC:
                for together in _together(payloads):
                    await self._write(self._those, _ranges(together))
            elif topic == VISIBILITY_TOPIC:
                await self._show([payload["version"] for payload in payloads])
            else:
                await self._delete([identifier for payload in payloads for identifier in payload["ids"]])

    async def write_page(self, after: str) -> str | None:
        """Upsert the next POINTS chunks by id, as the catalogue has them now; the last id, None at the end."""
        query = self._all.where(chunks.c.id > after).order_by(chunks.c.id).limit(POINTS)
        rows = await self._write(query)
        return str(rows[-1]["id"]) if len(rows) == POINTS else None

    async def _write(self, query: Select[Any], given: Mapping[str, Any] | None = None) -> Sequence[RowMapping]:
        async with self._database.read() as connection:
            rows = (await connection.execute(query, given)).mappings().all()
        if rows:
            await self.store.upsert(await self._as_points(rows))
        return rows

    async def _as_points(self, rows: Sequence[RowMapping]) -> list[Point]:
        texts = [embedded_text(row["title"], row["heading"], row["text"]) for row in rows]
        private = await self._kept_here(rows)
        missing = {
            row["embedded_hash"]: text
            for row, text in zip(rows, texts, strict=True)
            if row["vector"] is None and row["document_id"] not in private
        }
        made = await self._embed(missing) if missing else {}
        nothing = np.zeros(self._embedder.dimensions, "<f2").tobytes()
        sparse = await asyncio.to_thread(self._encoder.documents, texts)
        return [
            Point(
                id=row["id"],
                dense=_vector(row["vector"] or made.get(row["embedded_hash"], nothing)),
                sparse=keywords,
                collection=row["collection"],
                document=row["document_id"],
                type=row["media_type"],
                visible_from=row["visible_from"],
                visible_until=row["visible_until"],
                tags=tuple(row["tags"]),
                date=row["dated"].timestamp() if row["dated"] else None,
            )
            for row, keywords in zip(rows, sparse, strict=True)
        ]

    async def _kept_here(self, rows: Sequence[RowMapping]) -> frozenset[str]:
        """Documents of which the embedder is to see nothing; their chunks are found by their words only."""
        if not self._embedder.elsewhere or all(row["vector"] for row in rows):
            return frozenset()
        async with self._database.read() as connection:
            return await private_among(connection, {row["document_id"] for row in rows})

    async def _embed(self, missing: dict[str, str]) -> dict[str, bytes]:
        """Embeddings that were not kept, or were another embedder's: made and kept now."""
        rows = embedding_rows(self._embedder, list(missing), await self._embedder.embed(list(missing.values())))
        async with self._database.write() as connection:
            await connection.execute(insert_missing(embeddings, connection.dialect.name), rows)
        return {row["text_hash"]: row["vector"] for row in rows}

    async def _show(self, changed: Sequence[str]) -> None:
        async for rows in self._ids_of(changed):
            await self.store.show(
                [
                    Visibility(tuple(row.id for row in group), *epochs)
                    for epochs, group in groupby(rows, key=lambda row: (row.visible_from, row.visible_until))
                ]
            )

    async def _ids_of(self, changed: Sequence[str]) -> AsyncIterator[Sequence[Any]]:
        """Ids and epochs of these versions' chunks, POINTS at a time."""
        place = (chunks.c.version_id, chunks.c.ordinal)
        query = (
            select(
                chunks.c.id, chunks.c.version_id, chunks.c.ordinal, versions.c.visible_from, versions.c.visible_until
            )
            .join(versions, versions.c.id == chunks.c.version_id)
            .where(chunks.c.version_id.in_(set(changed)))
            .order_by(chunks.c.version_id, chunks.c.ordinal)
            .limit(IDS)
        )
        after = ("", -1)
        while True:
            async with self._database.read() as connection:
                rows = (await connection.execute(query.where(tuple_(*place) > tuple_(*after)))).all()
            for start in range(0, len(rows), POINTS):
                yield rows[start : start + POINTS]
            if len(rows) < IDS:
                return
            after = (rows[-1].version_id, rows[-1].ordinal)

    async def _delete(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), POINTS):
            await self.store.delete(ids[start : start + POINTS])

    async def count(self) -> int:
        async with self._database.read() as connection:
            return int((await connection.execute(select(func.count()).select_from(chunks))).scalar_one())

    async def expected(self) -> tuple[Summary, int]:
        """What the store should hold, and the last outbox row that tells of it: both of one moment."""
        query = (
            select(chunks.c.id, versions.c.visible_from, versions.c.visible_until)
            .join(versions, versions.c.id == chunks.c.version_id)
            .order_by(chunks.c.id)
            .limit(SUMMED)
        )
        last = select(func.coalesce(func.max(outbox.c.seq), 0)).where(outbox.c.topic.in_(self.topics))
        count, total, after = 0, 0, ""
        async with self._database.read() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execution_options(isolation_level="REPEATABLE READ")
            seq = int((await connection.execute(last)).scalar_one())
            while rows := (await connection.execute(query.where(chunks.c.id > after))).all():
                total += await asyncio.to_thread(_added, rows)
                count, after = count + len(rows), rows[-1].id
        return Summary(count, total % 2**64), seq


def _together(payloads: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Payloads of CHUNKS_TOPIC in groups of at most RANGES and POINTS chunks (or one payload)."""
    group: list[dict[str, Any]] = []
    size = 0
    for payload in payloads:
        more = payload["last"] - payload["first"] + 1
        if len(group) == RANGES or (group and size + more > POINTS):
            yield group
            group, size = [], 0
        group.append(payload)
        size += more
    if group:
        yield group


def _between(place: int) -> ColumnElement[bool]:
    first, last = bindparam(f"first_{place}", type_=Integer), bindparam(f"last_{place}", type_=Integer)
    return and_(chunks.c.version_id == bindparam(f"version_{place}"), chunks.c.ordinal.between(first, last))


def _ranges(payloads: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The last one fills the places that are left: a statement of another shape would be compiled and kept."""
    filled = [*payloads, *[payloads[-1]] * (RANGES - len(payloads))]
    return {f"{key}_{place}": value for place, payload in enumerate(filled) for key, value in payload.items()}


def _points(embedder: str) -> Any:
    kept = and_(embeddings.c.text_hash == chunks.c.embedded_hash, embeddings.c.embedder == embedder)
    return (
        select(
            chunks.c.id,
            chunks.c.text,
            chunks.c.heading,
            chunks.c.embedded_hash,
            versions.c.document_id,
            versions.c.title,
            versions.c.media_type,
            versions.c.dated,
            versions.c.visible_from,
            versions.c.visible_until,
            documents.c.collection,
            documents.c.tags,
            embeddings.c.vector,
        )
        .join(versions, versions.c.id == chunks.c.version_id)
        .join(documents, documents.c.id == versions.c.document_id)
        .outerjoin(embeddings, kept)
    )


def _vector(kept: bytes) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.frombuffer(kept, dtype="<f2").astype(np.float32)


def _added(rows: Sequence[Any]) -> int:
    return sum(checksum(*row) for row in rows)
