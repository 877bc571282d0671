"""One file -> everything the stores need of it, in a reading process that may be killed at any moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from retrieval.loaders import LoadedDocument, load
from retrieval.splitting import Piece, split

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection  # neither in the reading process


class Extractor(Protocol):
    """Finds entities and facts in pieces; picklable, pure, needs no model. Its result is the sink's business only."""

    def extract(self, document: LoadedDocument, pieces: Sequence[Piece]) -> Sequence[Any]:
        """One picklable extract per piece, in their order."""
        ...


class GraphSink(Protocol):
    """How ingestion reaches the graph memory, without knowing it. Implemented by `memory`."""

    def writing(
        self, collection: str, document_id: str, version_id: str, chunk_ids: Sequence[str], extracts: Sequence[Any]
    ) -> Callable[[Connection], None]:
        """A unit that writes entities, facts, evidence and outbox rows of these chunks; idempotent."""
        ...

    async def remove(self, connection: AsyncConnection, version_id: str) -> None:
        """Take the version's evidence away, and each fact with its last evidence."""
        ...


@dataclass(frozen=True, slots=True)
class Prepared:
    document: LoadedDocument
    pieces: list[Piece]
    extracts: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Preparer:
    """Picklable, so that a reading process can be handed one."""

    chunk_tokens: int
    extractor: Extractor

    def __call__(self, data: bytes, source: str, title: str | None) -> Prepared:
        document = load(data, source, title)
        pieces = split(document, self.chunk_tokens)
        return Prepared(document, pieces, self.extractor.extract(document, pieces))
