"""Documents marked private: nothing of them leaves this machine, whatever the settings allow.

The mark is by document id, which owner, collection and source decide: it is there before the file is read, stays when
the file changes, and holds again when a removed document comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database import Database
from aegis.database.outbox import Outbox, append
from aegis.database.schema import insert_missing
from aegis.errors import Forbidden
from aegis.scope import Scope
from inference.sharing import private_documents
from retrieval.catalogue import Catalogue, DocumentEntry
from retrieval.ingestion.versions import CHUNKS_TOPIC, SLICE
from retrieval.tables import versions

ROWS = 500  # marks of one transaction


class Privacy:
    def __init__(self, database: Database, catalogue: Catalogue, outbox: Outbox, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._catalogue = catalogue
        self._outbox = outbox
        self._clock = clock

    async def set(self, scope: Scope, document_id: str, *, private: bool) -> DocumentEntry:
        """Raises NotFound, and Forbidden where the scope may only read it."""
        found = await self._catalogue.document(scope, document_id)
        if not scope.may_write(found.collection):
            raise Forbidden(f"You may not change documents of {found.collection!r}.", collection=found.collection)
        await (self.mark(scope, [document_id]) if private else self._unmark(document_id))
        return await self._catalogue.document(scope, document_id)

    async def mark(self, scope: Scope, document_ids: Sequence[str]) -> None:
        """Of documents that are there, or about to be. What was sent before stays where it went."""
        by = {"marked_by": scope.user, "marked_at": self._clock()}
        for start in range(0, len(document_ids), ROWS):
            rows = [{"document_id": each, **by} for each in document_ids[start : start + ROWS]]
            async with self._database.write() as connection:
                await connection.execute(insert_missing(private_documents, connection.dialect.name), rows)

    async def _unmark(self, document_id: str) -> None:
        """What an embedder elsewhere was not shown, it is shown now."""
        gone = delete(private_documents).where(private_documents.c.document_id == document_id)
        async with self._database.write() as connection:
            held = await _slices(connection, document_id)
            await append(connection, CHUNKS_TOPIC, held)
            await connection.execute(gone)
        self._outbox.wake()


async def _slices(connection: AsyncConnection, document_id: str) -> list[dict[str, object]]:
    """Outbox rows that tell an index all chunks of the document again."""
    query = select(versions.c.id, versions.c.chunk_count).where(versions.c.document_id == document_id)
    return [
        {"version": version, "first": first, "last": min(first + SLICE, count) - 1}
        for version, count in await connection.execute(query)
        for first in range(0, count, SLICE)
    ]
