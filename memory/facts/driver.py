"""Graphiti on the relational store: a GraphDriver of ours, without Cypher.

Pinned to Graphiti 0.31, whose interfaces for drivers are young. What it still asks in Cypher (sagas, communities,
removing an episode) is refused with an error that names the query. Imports Graphiti: import this module where a
graph is opened, not at start.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from graphiti_core import Graphiti
from graphiti_core.cross_encoder.client import CrossEncoderClient
from graphiti_core.driver.driver import GraphDriver, GraphDriverSession, GraphProvider
from graphiti_core.embedder.client import EmbedderClient
from graphiti_core.llm_client.client import LLMClient
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database import Database
from aegis.errors import InvalidInput
from aegis.scope import group_id
from memory.facts.index import FactIndex
from memory.facts.lookup import RelationalSearch
from memory.facts.objects import PLACEHOLDER
from memory.facts.operations import RelationalOperations
from memory.facts.rows import insert_new
from memory.facts.tables import groups
from memory.facts.visibility import Epoch
from memory.facts.wording import overlap
from memory.reading.admission import Admission
from retrieval.embedding import Embedder


@dataclass(frozen=True, slots=True)
class _Transaction:
    """What Graphiti hands back to our operations during a bulk save."""

    connection: AsyncConnection

    async def run(self, query: str, **_: Any) -> Any:
        raise _refused(query)


class RelationalSession(GraphDriverSession):
    provider = GraphProvider.NEO4J

    def __init__(self, database: Database, committed: Callable[[], None], admission: Admission | None = None) -> None:
        self._database = database
        self._committed = committed
        self._admission = admission

    async def __aexit__(self, exc_type: Any, exc: Any, tb: Any) -> None:
        return None

    async def run(self, query: str, **kwargs: Any) -> Any:
        raise _refused(query)

    async def close(self) -> None:
        return None

    async def execute_write(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        """One transaction: objects, evidence and outbox rows are there together, or not at all."""
        async with self._database.write() as connection:
            result = await func(_Transaction(connection), *args, **kwargs)
            if self._admission is not None:
                await self._admission.commit(connection)
        self._committed()
        return result


class RelationalDriver(GraphDriver):
    # There is no provider of our own to name; with this one Graphiti keeps all groups in one graph, as we do.
    provider = GraphProvider.NEO4J

    def __init__(
        self,
        database: Database,
        epoch: Epoch,
        committed: Callable[[], None] = lambda: None,
        *,
        entailed_only: bool = False,
        index: FactIndex | None = None,
        admission: Admission | None = None,
        open_only: bool = False,
    ) -> None:
        self._database = "aegis"
        self._store = database
        self._committed = committed
        self._admission = admission
        self.graph_operations_interface = RelationalOperations(
            database=database, epoch=epoch, entailed_only=entailed_only, admission=admission, open_only=open_only
        )
        self.search_interface = RelationalSearch(database=database, epoch=epoch, index=index, open_only=open_only)

    def execute_query(self, cypher_query_: str, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        raise _refused(cypher_query_)

    def session(self, database: str | None = None) -> RelationalSession:
        return RelationalSession(self._store, self._committed, self._admission)

    async def close(self) -> None:
        """The database belongs to whoever opened it."""

    async def delete_all_indexes(self) -> None:
        """Indexes are the migrations' business."""

    async def build_indices_and_constraints(self, delete_existing: bool = False) -> None:
        """Indexes are the migrations' business."""


def _refused(query: str) -> InvalidInput:
    shown = " ".join(query.split())[:200]
    return InvalidInput(f"The relational graph driver answers no Cypher; Graphiti asked: {shown}")


class GraphitiEmbedder(EmbedderClient):
    """Our embedder as Graphiti's. Without one, a placeholder: then only names and words are compared."""

    def __init__(self, embedder: Embedder | None) -> None:
        self._embedder = embedder

    async def create(self, input_data: str | list[str] | Iterable[int] | Iterable[Iterable[int]]) -> list[float]:
        texts = [input_data] if isinstance(input_data, str) else [str(part) for part in input_data]
        return (await self.create_batch(texts[:1]))[0]

    async def create_batch(self, input_data_list: list[str]) -> list[list[float]]:
        if self._embedder is None:
            return [list(PLACEHOLDER) for _ in input_data_list]
        return np.asarray(await self._embedder.embed(input_data_list)).tolist()


class WordReranker(CrossEncoderClient):
    """Ranks by shared words: Graphiti wants a cross-encoder, and its own asks OpenAI."""

    async def rank(self, query: str, passages: list[str]) -> list[tuple[str, float]]:
        scored = zip(passages, overlap(query, passages), strict=True)
        return sorted(scored, key=lambda pair: -pair[1])


@asynccontextmanager
async def open_graphiti(
    database: Database,
    epoch: Epoch,
    llm: LLMClient,
    embedder: Embedder | None = None,
    committed: Callable[[], None] = lambda: None,
    *,
    entailed_only: bool = True,
    index: FactIndex | None = None,
    admission: Admission | None = None,
    open_only: bool = False,
) -> AsyncGenerator[Graphiti]:
    """Graphiti over the relational store. `committed` is called after each bulk save: wake the projections there.

    `entailed_only`: facts of the model that their episode does not state are left out. `index`: where searches are
    answered; by its embedder, so give the same one here. `admission`: what writes entities and facts instead.
    `open_only`: Graphiti, which shows its model what is known already, is given nothing of private documents.
    """
    yield Graphiti(
        graph_driver=RelationalDriver(
            database,
            epoch,
            committed,
            entailed_only=entailed_only,
            index=index,
            admission=admission,
            open_only=open_only,
        ),
        llm_client=llm,
        embedder=GraphitiEmbedder(embedder),
        cross_encoder=WordReranker(),
    )


async def ensure_group(database: Database, kind: str, name: str) -> str:
    """Make the group of a collection (`d`) or a user (`u`) unless it is there; its id."""
    identifier = group_id(kind, name)
    async with database.write() as connection:
        await insert_new(connection, groups, [{"id": identifier, "kind": kind, "name": name}])
    return identifier
