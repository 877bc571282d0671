"""A small real installation without a server: SQLite, Qdrant Edge in its child process, our encoders, in one folder."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import insert, update

from aegis.database import Database, open_database
from aegis.database.migrations import upgrade
from aegis.scope import Scope, Span, chunk_id
from aegis.settings import EdgeSettings, RetrievalSettings, SQLiteSettings
from memory.extraction import RuleExtractor
from memory.facts.writing import GraphWriter
from memory.mentions import GraphSearcher, MentionFollower
from retrieval.catalogue import Catalogue
from retrieval.chunk import embedded_text
from retrieval.embedding import Embedder
from retrieval.embedding.wordllama import WordLlamaEmbedder, open_wordllama
from retrieval.interaction import MaxSim, Reader
from retrieval.keywords import KeywordEncoder
from retrieval.loaders import LoadedDocument
from retrieval.search import HybridSearcher
from retrieval.splitting import Piece
from retrieval.store import Point, VectorStore
from retrieval.store.edge import open_edge
from retrieval.tables import NEVER, chunks, documents, epochs, versions

COLLECTION = "bench"
SCOPE = Scope("bench", frozenset({COLLECTION}))
EPOCH = 1
BATCH = 100
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Book:
    """A document and its chunks. `name` is its document id on the shelf."""

    name: str
    title: str
    text: str
    pieces: Sequence[Piece]


@dataclass(frozen=True, slots=True)
class Shelf:
    """Books that are visible to SCOPE."""

    database: Database
    store: VectorStore
    embedder: Embedder
    static: WordLlamaEmbedder
    closer: MaxSim
    keywords: KeywordEncoder
    catalogue: Catalogue

    async def put(self, books: Sequence[Book]) -> None:
        for start in range(0, len(books), BATCH):
            await self._put(books[start : start + BATCH])

    async def remember(self, books: Sequence[Book]) -> None:
        """Write what the rules find in them to the graph memory, as ingestion does. The books are on the shelf."""
        extractor, writer = RuleExtractor(), GraphWriter()
        for start in range(0, len(books), BATCH):
            async with self.database.write() as connection:
                for book in books[start : start + BATCH]:
                    ids = [chunk_id(book.name, piece.span) for piece in book.pieces]
                    found = extractor.extract(LoadedDocument(book.text, book.title, "text/plain"), book.pieces)
                    await connection.run_sync(writer.writing(COLLECTION, book.name, book.name, ids, found))

    def searcher(self, reader: Reader | None = None) -> HybridSearcher:
        return HybridSearcher(
            self.store,
            self.embedder,
            self.keywords,
            self.catalogue,
            RetrievalSettings(),
            reranker=self.closer,
            reader=reader,
        )

    def follower(self) -> GraphSearcher:
        return GraphSearcher(self.searcher(), MentionFollower(self.database, self.catalogue))

    async def _put(self, books: Sequence[Book]) -> None:
        async with self.database.write() as connection:
            await connection.execute(insert(documents), [_document(book) for book in books])
            await connection.execute(insert(versions), [_version(book) for book in books])
            await connection.execute(insert(chunks), [row for book in books for row in _chunks(book)])
        pieces = [(book, piece) for book in books for piece in book.pieces]
        for start in range(0, len(pieces), BATCH):
            await self.store.upsert(await self._points(pieces[start : start + BATCH]))

    async def _points(self, pieces: Sequence[tuple[Book, Piece]]) -> list[Point]:
        texts = [embedded_text(book.title, piece.heading, piece.text) for book, piece in pieces]
        dense, sparse = await self.embedder.embed(texts), self.keywords.documents(texts)
        return [
            Point(chunk_id(book.name, piece.span), vector, words, COLLECTION, book.name, "text/plain", 0, NEVER)
            for (book, piece), vector, words in zip(pieces, dense, sparse, strict=True)
        ]


def whole(name: str, title: str, text: str) -> Book:
    """A document of one chunk."""
    return Book(name, title, text, [Piece(Span(0, len(text)), text, None, None)])


@asynccontextmanager
async def open_shelf(folder: Path, embedder: Embedder) -> AsyncGenerator[Shelf]:
    async with (
        open_database(SQLiteSettings(), folder) as database,
        open_edge(EdgeSettings(), folder / "vectors", embedder.dimensions) as store,
    ):
        await upgrade(database)
        async with database.write() as connection:
            await connection.execute(update(epochs).values(value=EPOCH))
        catalogue = Catalogue(database)
        catalogue.epoch_raised(EPOCH)
        static = embedder if isinstance(embedder, WordLlamaEmbedder) else open_wordllama()
        yield Shelf(database, store, embedder, static, MaxSim(static.word_vectors), KeywordEncoder(), catalogue)


def _document(book: Book) -> dict[str, Any]:
    return {
        "id": book.name,
        "owner": SCOPE.user,
        "collection": COLLECTION,
        "source": f"bench:{book.name}",
        "tags": [],
        "created_at": _NOW,
    }


def _version(book: Book) -> dict[str, Any]:
    return {
        "id": book.name,
        "document_id": book.name,
        "content_hash": book.name,
        "title": book.title,
        "media_type": "text/plain",
        "chars": len(book.text),
        "pages": [],
        "headings": [],
        "verdict": {},
        "dated": None,
        "chunk_count": len(book.pieces),
        "indexed_at": _NOW,
        "visible_from": 0,
        "visible_until": NEVER,
    }


def _chunks(book: Book) -> list[dict[str, Any]]:
    return [
        {
            "id": chunk_id(book.name, piece.span),
            "version_id": book.name,
            "ordinal": ordinal,
            "start": piece.span.start,
            "end": piece.span.end,
            "text": piece.text,
            "page": piece.page,
            "heading": piece.heading,
            "embedded_hash": book.name[:64],
        }
        for ordinal, piece in enumerate(book.pieces)
    ]
