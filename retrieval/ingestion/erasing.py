"""Erasing documents for good: after `remove` nobody finds them, after this nobody can read them off the disk either.

Deleted rows stay readable in free pages and the log of SQLite, deleted points in the pages of the index: both are
rebuilt. A receipt says, per store, how far it went.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import delete, exists, func, select, update

from aegis.database import Database
from aegis.errors import Forbidden, NotFound
from aegis.scope import Scope
from retrieval.blobs import Blobs
from retrieval.ingestion.publishing import Publisher
from retrieval.ingestion.tables import job_files
from retrieval.ingestion.versions import Versions
from retrieval.tables import chunks, documents, embeddings, versions

Left = Literal["not findable", "erased from disk"]


@dataclass(frozen=True, slots=True)
class Erased:
    """What became of a document, per store."""

    document_id: str
    stores: dict[str, Left]


@dataclass(frozen=True, slots=True)
class Eraser:
    """`rebuild` makes the index anew and returns when it is. `tell`: whoever keeps what was drawn from versions that go
    hears of it while they are still known: afterwards nobody could."""

    database: Database
    publisher: Publisher
    versions: Versions
    blobs: Blobs
    rebuild: Callable[[str], Awaitable[None]]
    tell: Callable[[Sequence[str]], Awaitable[None]]
    further: Sequence[str] = ()  # stores of others, which delete by themselves

    async def erase(self, scope: Scope, document_ids: Sequence[str]) -> list[Erased]:
        """All of them, then what must be rebuilt, once. Killed on the way, it is asked for again and goes on.

        Raises NotFound before anything is touched, where one is not there for this scope; Forbidden.
        """
        for document_id in document_ids:
            await self._allowed(scope, document_id)
        for document_id in document_ids:
            await self._one(document_id)
        await self._forget_embeddings()
        for projection in (*self.publisher.projections, *self.publisher.followers):  # a graph that is away, too
            await projection.caught_up()
        await self.rebuild("documents were erased")
        await self.database.compact()
        kept: dict[str, Left] = dict.fromkeys(self.further, "not findable")
        gone = ("documents", "chunks", "facts", "embeddings", "originals", "index", "cached answers")
        return [Erased(one, {**dict.fromkeys(gone, "erased from disk"), **kept}) for one in document_ids]

    async def _allowed(self, scope: Scope, document_id: str) -> None:
        """Also one that was removed before: what nobody finds may still be erased."""
        query = select(documents.c.collection).where(documents.c.id == document_id)
        async with self.database.read() as connection:
            collection = (await connection.execute(query)).scalar_one_or_none()
        if collection is None or not (scope.may_read(collection) or scope.may_add_collections):
            raise NotFound(f"There is no document {document_id}.", document_id=document_id)
        if not scope.may_write(collection):
            raise Forbidden(f"You may not erase documents of {collection!r}.", collection=collection)

    async def _one(self, document_id: str) -> None:
        await self.publisher.publish(hidden=[document_id])
        query = select(versions.c.id, versions.c.content_hash).where(versions.c.document_id == document_id)
        async with self.database.read() as connection:
            of_it = [(row[0], row[1]) for row in await connection.execute(query)]
            sent = select(job_files.c.blob).where(job_files.c.document_id == document_id, job_files.c.blob.is_not(None))
            hashes = {row[0] for row in await connection.execute(sent)} | {digest for _, digest in of_it}
        await self.tell([version for version, _ in of_it])
        for version, _ in of_it:
            await self.versions.discard(version)
        await self._forget_files(document_id)
        for digest in hashes:
            if not await self._wanted(digest):
                await self.blobs.delete(digest)

    async def _forget_files(self, document_id: str) -> None:
        """Jobs keep their counts; the names of these files and what was said of them go."""
        nothing: dict[str, Any] = {"source": f"erased:{document_id}", "tags": []}
        nothing |= dict.fromkeys(("title", "blob", "reason"))
        async with self.database.write() as connection:
            await connection.execute(update(job_files).where(job_files.c.document_id == document_id).values(nothing))
            await connection.execute(delete(documents).where(documents.c.id == document_id))

    async def _wanted(self, digest: str) -> bool:
        """Whether another document has the same bytes."""
        queries = (
            select(func.count()).where(versions.c.content_hash == digest),
            select(func.count()).where(job_files.c.blob == digest),
        )
        async with self.database.read() as connection:
            return any([int((await connection.execute(query)).scalar_one()) > 0 for query in queries])

    async def _forget_embeddings(self) -> None:
        used = exists(select(1).where(chunks.c.embedded_hash == embeddings.c.text_hash))
        async with self.database.write() as connection:
            await connection.execute(delete(embeddings).where(~used))
