"""A small store for tests of the graph memory: documents put in through the real tables, extractor and writer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert

from aegis.database import Database
from aegis.scope import DEFAULT_COLLECTION, LOCAL_USER, Span, chunk_id, content_hash, document_id, version_id
from memory.extraction import Extract, RuleExtractor
from memory.facts.writing import GraphWriter
from retrieval.catalogue import Catalogue
from retrieval.loaders.document import LoadedDocument
from retrieval.splitting import Piece
from retrieval.tables import NEVER, chunks, documents, epochs, versions

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Library:
    database: Database
    catalogue: Catalogue = field(init=False)
    extracts: dict[str, list[Extract]] = field(default_factory=dict[str, list[Extract]])  # by first chunk

    def __post_init__(self) -> None:
        self.catalogue = Catalogue(self.database)

    async def put(
        self,
        title: str,
        *texts: str,
        collection: str = DEFAULT_COLLECTION,
        visible: tuple[int, int] = (0, NEVER),
        headings: Sequence[str | None] = (),
        tags: Sequence[str] = (),
        source: str | None = None,
    ) -> list[str]:
        """One document, one chunk per text; the chunk ids. Seen at the epochs [visible)."""
        source = f"upload:{source or title}"
        document = document_id(LOCAL_USER, collection, source)
        whole = "\n\n".join(texts)
        version = version_id(document, content_hash(whole.encode()), visible[0])
        pieces = list(_pieces(texts, headings))
        ids = [chunk_id(version, piece.span) for piece in pieces]
        extracts = RuleExtractor().extract(LoadedDocument(whole, title, "text/plain"), pieces)
        self.extracts[ids[0]] = extracts
        async with self.database.write() as connection:
            if visible[0] == 0:
                await connection.execute(
                    insert(documents).values(
                        id=document,
                        owner=LOCAL_USER,
                        collection=collection,
                        source=source,
                        tags=list(tags),
                        created_at=NOW,
                    )
                )
            await connection.execute(insert(versions).values(**_version(version, document, title, whole, ids, visible)))
            await connection.execute(insert(chunks), list(_rows(version, ids, pieces)))
            await connection.run_sync(GraphWriter().writing(collection, document, version, ids, extracts))
        return ids

    async def version_of(self, chunk: str) -> str:
        async with self.database.read() as connection:
            query = chunks.select().where(chunks.c.id == chunk)
            return (await connection.execute(query)).mappings().one()["version_id"]

    async def raise_epoch(self, value: int) -> None:
        async with self.database.write() as connection:
            await connection.execute(epochs.delete())
            await connection.execute(insert(epochs).values(id=1, value=value))
        self.catalogue.epoch_raised(value)


def _pieces(texts: Sequence[str], headings: Sequence[str | None]) -> list[Piece]:
    pieces: list[Piece] = []
    start = 0
    for index, text in enumerate(texts):
        heading = headings[index] if index < len(headings) else None
        pieces.append(Piece(Span(start, start + len(text)), text, None, heading))
        start += len(text) + 2
    return pieces


def _version(
    version: str, document: str, title: str, whole: str, ids: Sequence[str], visible: tuple[int, int]
) -> dict[str, object]:
    return {
        "id": version,
        "document_id": document,
        "content_hash": content_hash(whole.encode()),
        "title": title,
        "media_type": "text/plain",
        "chars": len(whole),
        "pages": [],
        "headings": [],
        "verdict": {},
        "dated": None,
        "chunk_count": len(ids),
        "indexed_at": NOW,
        "visible_from": visible[0],
        "visible_until": visible[1],
    }


def _rows(version: str, ids: Sequence[str], pieces: Sequence[Piece]) -> list[dict[str, Any]]:
    return [
        {"id": identifier, "version_id": version, "ordinal": ordinal, "start": piece.span.start, "end": piece.span.end}
        | {"text": piece.text, "page": None, "heading": piece.heading, "embedded_hash": ""}
        for ordinal, (identifier, piece) in enumerate(zip(ids, pieces, strict=True))
    ]
