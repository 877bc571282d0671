"""Graphiti's reads and writes of nodes and edges, answered by the relational tables.

Within a bulk save all writes use its one transaction; elsewhere each has its own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from graphiti_core.driver.graph_operations.graph_operations import GraphOperationsInterface
from graphiti_core.edges import EntityEdge
from graphiti_core.errors import EdgeNotFoundError, NodeNotFoundError
from graphiti_core.nodes import EntityNode, EpisodicNode
from sqlalchemy import and_, delete, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from memory.facts import objects
from memory.facts.dropping import drop_unsupported
from memory.facts.objects import PLACEHOLDER, load_edges, load_episodes, load_nodes
from memory.facts.rows import batches, column, tell_graph
from memory.facts.tables import entities, episodes, evidence, facts, mentions
from memory.facts.visibility import open_entities, open_episodes, open_facts
from memory.naming import key


class RelationalOperations(GraphOperationsInterface):
    """`database` and `epoch` are what the driver was opened with. What is missing here raises in the driver."""

    database: Any
    epoch: Any
    entailed_only: bool = False  # whether facts that their episode does not state are left out
    admission: Any = None  # memory.reading.admission.Admission: takes what a bulk save gives, and writes it itself
    open_only: bool = False  # what a private document says or names is not there

    # Nodes

    async def node_save(self, node: Any, driver: Any) -> None:
        async with self._writing(None) as connection:
            await objects.save_nodes(connection, [node.model_dump()])

    async def node_save_bulk(
        self, _cls: Any, driver: Any, transaction: Any, nodes: list[Any], batch_size: int = 100
    ) -> None:
        if self.admission is not None:
            self.admission.nodes += nodes
            return
        async with self._writing(transaction) as connection:
            await objects.save_nodes(connection, nodes)

    async def node_delete(self, node: Any, driver: Any) -> None:
        await self._forget([node.uuid])

    async def node_delete_by_uuids(
        self, _cls: Any, driver: Any, uuids: list[str], group_id: str | None = None, batch_size: int = 100
    ) -> None:
        await self._forget(uuids)

    async def node_get_by_uuid(self, _cls: Any, driver: Any, uuid: str) -> EntityNode:
        found = await self._nodes(entities.c.id == uuid)
        if not found:
            raise NodeNotFoundError(uuid)
        return found[0]

    async def node_get_by_uuids(
        self, _cls: Any, driver: Any, uuids: list[str], group_id: str | None = None
    ) -> list[EntityNode]:
        return await self._nodes(entities.c.id.in_(uuids))

    async def node_get_by_group_ids(
        self,
        _cls: Any,
        driver: Any,
        group_ids: list[str],
        limit: int | None = None,
        uuid_cursor: str | None = None,
    ) -> list[EntityNode]:
        return await self._nodes(and_(entities.c.group_id.in_(group_ids), entities.c.id > (uuid_cursor or "")), limit)

    async def node_get_by_names(
        self, _cls: Any, driver: Any, names: list[str], group_ids: list[str]
    ) -> list[EntityNode]:
        return await self._nodes(and_(entities.c.group_id.in_(group_ids), entities.c.key.in_([*map(key, names)])))

    async def node_load_embeddings(self, node: Any, driver: Any) -> None:
        node.name_embedding = PLACEHOLDER

    async def node_load_embeddings_bulk(
        self, driver: Any, nodes: list[Any], batch_size: int = 100
    ) -> dict[str, list[float]]:
        return {node.uuid: PLACEHOLDER for node in nodes}

    # Episodes

    async def episodic_node_save(self, node: Any, driver: Any) -> None:
        async with self._writing(None) as connection:
            await objects.save_episodes(connection, [dict(node)])

    async def episodic_node_save_bulk(
        self, _cls: Any, driver: Any, transaction: Any, nodes: list[Any], batch_size: int = 100
    ) -> None:
        if self.admission is not None:
            return
        async with self._writing(transaction) as connection:
            await objects.save_episodes(connection, nodes)

    async def episodic_node_get_by_uuid(self, _cls: Any, driver: Any, uuid: str) -> EpisodicNode:
        found = await self._episodes(episodes.c.id == uuid)
        if not found:
            raise NodeNotFoundError(uuid)
        return found[0]

    async def episodic_node_get_by_uuids(self, _cls: Any, driver: Any, uuids: list[str]) -> list[EpisodicNode]:
        return await self._episodes(episodes.c.id.in_(uuids))

    async def episodic_node_get_by_group_ids(
        self,
        _cls: Any,
        driver: Any,
        group_ids: list[str],
        limit: int | None = None,
        uuid_cursor: str | None = None,
    ) -> list[EpisodicNode]:
        return await self._episodes(
            and_(episodes.c.group_id.in_(group_ids), episodes.c.id > (uuid_cursor or "")), limit=limit
        )

    async def episodic_node_get_by_entity_node_uuid(
        self, _cls: Any, driver: Any, entity_node_uuid: str
    ) -> list[EpisodicNode]:
        of_entity = select(mentions.c.episode_id).where(mentions.c.entity_id == entity_node_uuid)
        return await self._episodes(episodes.c.id.in_(of_entity))

    async def retrieve_episodes(
        self,
        driver: Any,
        reference_time: Any,
        last_n: int = 3,
        group_ids: list[str] | None = None,
        source: Any | None = None,
        saga: str | None = None,
    ) -> list[EpisodicNode]:
        if saga is not None:
            raise NotImplementedError
        wanted = and_(episodes.c.valid_at <= reference_time, episodes.c.group_id.in_(group_ids or []))
        if source is not None:
            wanted = and_(wanted, episodes.c.source == source.value)
        found = await self._episodes(wanted, [episodes.c.valid_at.desc()], last_n)
        return found[::-1]

    async def get_mentioned_nodes(self, driver: Any, episodes: list[Any]) -> list[EntityNode]:
        named = select(mentions.c.entity_id).where(mentions.c.episode_id.in_([episode.uuid for episode in episodes]))
        return await self._nodes(entities.c.id.in_(named))

    # Mentions (Graphiti's episodic edges)

    async def episodic_edge_save(self, edge: Any, driver: Any) -> None:
        async with self._writing(None) as connection:
            await objects.save_mentions(connection, [edge.model_dump()])

    async def episodic_edge_save_bulk(
        self, _cls: Any, driver: Any, transaction: Any, episodic_edges: list[Any], batch_size: int = 100
    ) -> None:
        if self.admission is not None:
            return
        async with self._writing(transaction) as connection:
            await objects.save_mentions(connection, episodic_edges)

    # Facts (Graphiti's entity edges)

    async def edge_save(self, edge: Any, driver: Any) -> None:
        async with self._writing(None) as connection:
            await objects.save_edges(connection, [edge.model_dump()], entailed_only=self.entailed_only)

    async def edge_save_bulk(
        self, _cls: Any, driver: Any, transaction: Any, edges: list[Any], batch_size: int = 100
    ) -> None:
        if self.admission is not None:
            self.admission.edges += edges
            return
        async with self._writing(transaction) as connection:
            await objects.save_edges(connection, edges, entailed_only=self.entailed_only)

    async def edge_delete(self, edge: Any, driver: Any) -> None:
        await self._withdraw([edge.uuid])

    async def edge_delete_by_uuids(self, _cls: Any, driver: Any, uuids: list[str], group_id: str | None = None) -> None:
        await self._withdraw(uuids)

    async def edge_get_by_uuid(self, _cls: Any, driver: Any, uuid: str) -> EntityEdge:
        found = await self._edges(facts.c.id == uuid)
        if not found:
            raise EdgeNotFoundError(uuid)
        return found[0]

    async def edge_get_by_uuids(self, _cls: Any, driver: Any, uuids: list[str]) -> list[EntityEdge]:
        return await self._edges(facts.c.id.in_(uuids))

    async def edge_get_by_group_ids(
        self,
        _cls: Any,
        driver: Any,
        group_ids: list[str],
        limit: int | None = None,
        uuid_cursor: str | None = None,
    ) -> list[EntityEdge]:
        return await self._edges(and_(facts.c.group_id.in_(group_ids), facts.c.id > (uuid_cursor or "")), limit)

    async def edge_get_between_nodes(
        self, _cls: Any, driver: Any, source_node_uuid: str, target_node_uuid: str
    ) -> list[EntityEdge]:
        return await self._edges(and_(facts.c.source_id == source_node_uuid, facts.c.target_id == target_node_uuid))

    async def edge_get_by_node_uuid(self, _cls: Any, driver: Any, node_uuid: str) -> list[EntityEdge]:
        return await self._edges(or_(facts.c.source_id == node_uuid, facts.c.target_id == node_uuid))

    async def edge_load_embeddings(self, edge: Any, driver: Any) -> None:
        edge.fact_embedding = PLACEHOLDER

    async def edge_load_embeddings_bulk(
        self, driver: Any, edges: list[Any], batch_size: int = 100
    ) -> dict[str, list[float]]:
        return {edge.uuid: PLACEHOLDER for edge in edges}

    # How

    @asynccontextmanager
    async def _writing(self, transaction: Any) -> AsyncGenerator[AsyncConnection]:
        if transaction is not None:
            yield transaction.connection
            return
        async with self.database.write() as connection:
            yield connection

    async def _nodes(self, condition: Any, limit: int | None = None) -> list[EntityNode]:
        async with self.database.read() as connection:
            return await load_nodes(connection, and_(condition, open_entities(self.open_only)), limit)

    async def _edges(self, condition: Any, limit: int | None = None) -> list[EntityEdge]:
        epoch = await self.epoch.epoch()
        async with self.database.read() as connection:
            return await load_edges(connection, epoch, and_(condition, open_facts(self.open_only)), limit)

    async def _episodes(
        self, condition: Any, order: Sequence[Any] = (), limit: int | None = None
    ) -> list[EpisodicNode]:
        async with self.database.read() as connection:
            return await load_episodes(connection, and_(condition, open_episodes(self.open_only)), order, limit)

    async def _withdraw(self, fact_ids: Sequence[str]) -> None:
        """Delete facts with all their evidence."""
        async with self.database.write() as connection:
            for part in batches(fact_ids):
                await connection.execute(delete(evidence).where(evidence.c.fact_id.in_(part)))
            await drop_unsupported(connection, fact_ids, [])

    async def _forget(self, ids: Sequence[str]) -> None:
        """Delete entities with their facts, and episodes with what they alone prove."""
        async with self.database.write() as connection:
            for part in batches(ids):
                ends = or_(facts.c.source_id.in_(part), facts.c.target_id.in_(part))
                gone = await column(connection, select(facts.c.id).where(ends))
                proven = select(evidence.c.fact_id).where(evidence.c.episode_id.in_(part)).distinct()
                touched = await column(connection, proven)
                mentioned = select(mentions.c.entity_id).where(mentions.c.episode_id.in_(part)).distinct()
                named = await column(connection, mentioned)
                for fact_ids in batches(gone):
                    await connection.execute(delete(evidence).where(evidence.c.fact_id.in_(fact_ids)))
                await connection.execute(delete(evidence).where(evidence.c.episode_id.in_(part)))
                here = or_(mentions.c.episode_id.in_(part), mentions.c.entity_id.in_(part))
                await connection.execute(delete(mentions).where(here))
                await connection.execute(delete(episodes).where(episodes.c.id.in_(part)))
                await drop_unsupported(connection, [*gone, *touched], [*part, *named])
                await tell_graph(connection, entities=named, facts=touched)  # those that stay may be seen otherwise
