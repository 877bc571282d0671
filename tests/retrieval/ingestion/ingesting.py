"""A whole ingestion over a real relational store, with small stand-ins for what other folders provide."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database import Database
from aegis.database.leases import Leases
from aegis.database.outbox import Outbox
from aegis.errors import IndexUnavailable, UnreadableDocument
from aegis.scope import Scope, Span, text_hash
from aegis.settings import IngestionSettings
from retrieval.blobs import Blobs
from retrieval.catalogue import Catalogue
from retrieval.chunk_points import ChunkPoints
from retrieval.ingestion import Job, Upload
from retrieval.ingestion.claims import Claims
from retrieval.ingestion.intake import Intake
from retrieval.ingestion.jobs import JobTable
from retrieval.ingestion.lanes import Lanes
from retrieval.ingestion.leftovers import Leftovers
from retrieval.ingestion.preparing import Prepared
from retrieval.ingestion.publishing import Publisher
from retrieval.ingestion.reading import Reader
from retrieval.ingestion.runner import Runner
from retrieval.ingestion.versions import Versions
from retrieval.ingestion.worker import Worker
from retrieval.keywords import KeywordEncoder
from retrieval.loaders import LoadedDocument
from retrieval.privacy import Privacy
from retrieval.projection import VectorProjection, running
from retrieval.splitting import Piece
from retrieval.store import Candidates, Dense, Point, Scored, Summary, VectorQuery, Visibility, checksum

SCOPE = Scope("local", frozenset({"default"}), may_add_collections=True)


class PlainPreparer:
    """Paragraphs as chunks. Some texts stand for hostile files."""

    def __call__(self, data: bytes, source: str, title: str | None) -> Prepared:
        text = data.decode()
        if text.startswith("DIE"):
            os._exit(9)
        if text.startswith("HANG"):
            time.sleep(3600)
        if text.startswith("RAISE"):
            raise ZeroDivisionError("a parser's mistake")
        if text.startswith("HUNGRY"):
            bytearray(8 * 2**30)
        if text.startswith("SLOW"):
            time.sleep(0.2)
        if text.startswith("REFUSE"):
            raise UnreadableDocument(f"{source} is a scan.")
        pieces: list[Piece] = []
        start = 0
        for paragraph in text.split("\n\n"):
            pieces.append(Piece(Span(start, start + len(paragraph)), paragraph, None, None))
            start += len(paragraph) + 2
        document = LoadedDocument(text, title or source, "text/plain")
        return Prepared(document, pieces, [None] * len(pieces))


class NoGraph:
    def writing(
        self, collection: str, document_id: str, version_id: str, chunk_ids: Sequence[str], extracts: Sequence[Any]
    ) -> Callable[[Connection], None]:
        assert len(chunk_ids) == len(extracts)
        return lambda _connection: None

    async def remove(self, connection: AsyncConnection, version_id: str) -> None:
        return None


class HashEmbedder:
    """Another vector for each text, always the same; counts what it was asked."""

    name = "hash-8"
    dimensions = 8
    elsewhere = False

    def __init__(self) -> None:
        self.asked = self.calls = 0

    async def embed(self, texts: Sequence[str]) -> Dense:
        self.asked, self.calls = self.asked + len(texts), self.calls + 1
        rows = [np.frombuffer(bytes.fromhex(text_hash(text))[:8], np.uint8).astype(np.float32) + 1 for text in texts]
        vectors = np.array(rows, np.float32).reshape(-1, 8)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    async def embed_query(self, text: str) -> Dense:
        return (await self.embed([text]))[0]


@dataclass
class MemoryStore:
    """The vector store's port over a dict. `away` makes every call fail."""

    points: dict[str, Point] = field(default_factory=dict[str, Point])
    away: bool = False
    was_reset: str | None = None
    largest: int = 0

    async def upsert(self, points: Sequence[Point]) -> None:
        await self._call(len(points))
        self.points |= {point.id: point for point in points}

    async def show(self, changes: Sequence[Visibility]) -> None:
        await self._call(sum(len(change.ids) for change in changes))
        for change in changes:
            for identifier in change.ids:
                if identifier in self.points:
                    self.points[identifier] = _moved(self.points[identifier], change)

    async def delete(self, ids: Sequence[str]) -> None:
        await self._call(len(ids))
        for identifier in ids:
            self.points.pop(identifier, None)

    async def query(self, query: VectorQuery) -> Candidates:
        await self._call(0)
        return Candidates(dense=[Scored(point.id, 1.0) for point in self.visible(query.filter.epoch)])

    async def summary(self) -> Summary:
        await self._call(0)
        total = sum(checksum(point.id, point.visible_from, point.visible_until) for point in self.points.values())
        return Summary(len(self.points), total % 2**64)

    async def reset(self, reason: str) -> None:
        await self._call(0)
        self.points.clear()
        self.was_reset = reason

    def visible(self, epoch: int) -> list[Point]:
        return [point for point in self.points.values() if point.visible_from <= epoch < point.visible_until]

    async def _call(self, size: int) -> None:
        await asyncio.sleep(0)
        self.largest = max(self.largest, size)
        if self.away:
            raise IndexUnavailable("The vector store is away.")


def _moved(point: Point, change: Visibility) -> Point:
    return replace(point, visible_from=change.visible_from, visible_until=change.visible_until)


class InlineReader(Reader):
    """Reads in this process, where starting another is not what is tested."""

    async def read(self, digest: str, source: str, title: str | None) -> Prepared:
        await asyncio.sleep(0)
        return self._prepare(self._blobs.get_now(digest), source, title)


@dataclass
class World:
    intake: Intake
    catalogue: Catalogue
    store: Any
    vectors: VectorProjection
    publisher: Publisher
    outbox: Outbox
    embedder: Any
    runner: Runner

    async def ingest(self, **files: str) -> Job:
        """One job with these texts, worked off. Names become sources `upload:NAME`."""
        job = await self.intake.submit(SCOPE, [upload(name, text) for name, text in files.items()])
        return await self.finished(job.id)

    async def finished(self, job_id: str, timeout: float = 60) -> Job:
        async with asyncio.timeout(timeout):
            return [job async for job in self.intake.watch(SCOPE, job_id)][-1]

    async def texts(self) -> dict[str, str]:
        """Visible documents: source -> text."""
        return {
            entry.source: await self.catalogue.text(SCOPE, entry.id, entry.version_id)
            for entry in await self.catalogue.list_documents(SCOPE, limit=1000)
        }


def upload(name: str, text: str, **values: Any) -> Upload:
    return Upload(f"upload:{name}", text.encode(), **values)


@asynccontextmanager
async def open_world(
    database: Database,
    folder: Path,
    *,
    store: Any = None,
    embedder: Any = None,
    settings: IngestionSettings | None = None,
    processes: bool = False,
    preparer: PlainPreparer | None = None,
    replica: str = "",
) -> AsyncGenerator[World]:
    """`replica` names one of several on the same store, which then go by leases."""
    settings = settings or IngestionSettings(worker_idle=5)
    store, embedder = store or MemoryStore(), embedder or HashEmbedder()
    outbox, catalogue, blobs = Outbox(database), Catalogue(database), Blobs(str(folder / "blobs"))
    leases = Leases(database, replica) if replica else None
    points = ChunkPoints(database, store, embedder, KeywordEncoder())
    vectors = VectorProjection(outbox, points, leases, now)
    versions = Versions(database, outbox, lambda: embedder, NoGraph(), now)
    publisher = Publisher(database, catalogue, outbox, leases, [vectors], now)
    jobs = JobTable(database, replica or "test", now)
    reader = (Reader if processes else InlineReader)(blobs, preparer or PlainPreparer(), settings)
    runner = Runner(jobs, versions, publisher, reader, settings)
    intake = Intake(jobs, runner, publisher, catalogue, blobs, settings, Privacy(database, catalogue, outbox, now))
    async with running(database, outbox, [vectors]), intake.running():
        yield World(intake, catalogue, store, vectors, publisher, outbox, embedder, runner)


@asynccontextmanager
async def open_hand(
    database: Database, folder: Path, name: str, *, embedder: Any = None, settings: IngestionSettings | None = None
) -> AsyncGenerator[Worker]:
    """A worker beside a world, on its store and its originals; at work until the end."""
    settings = settings or IngestionSettings(worker_idle=5)
    embedder = embedder or HashEmbedder()
    versions = Versions(database, Outbox(database), lambda: embedder, NoGraph(), now)
    leftovers = Leftovers(JobTable(database, name, now), versions)
    reader = InlineReader(Blobs(str(folder / "blobs")), PlainPreparer(), settings)
    lanes = Lanes(Claims(database, name, now), versions, reader, leftovers, settings)
    worker = Worker(lanes, settings, nothing_wrong, name)
    working = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await working


async def nothing_wrong() -> None:
    return None


def now() -> datetime:
    return datetime.now(UTC)
