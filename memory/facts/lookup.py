"""Graphiti's searches: by words and by vectors in the index of facts and entities, neighbourhoods in the tables.

No embedding is kept in the graph. Without an index, or while it is out of reach, what Graphiti would look for by
similarity it finds by name and by shared words.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from graphiti_core.driver.search_interface.search_interface import SearchInterface
from graphiti_core.edges import EntityEdge
from graphiti_core.nodes import EntityNode
from graphiti_core.search.search_filters import ComparisonOperator, DateFilter
from sqlalchemy import and_, or_
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.errors import IndexUnavailable
from memory.facts.loading import named
from memory.facts.objects import load_edges, load_nodes
from memory.facts.store import MAX_CANDIDATES
from memory.facts.tables import entities, facts
from memory.facts.visibility import open_entities, open_facts
from memory.facts.wording import overlap
from memory.naming import asked
from retrieval.store import Scored, Within

MAX_DEPTH = 4
_NUMBERS = {"valid_at": "valid_from", "invalid_at": "valid_until", "expired_at": "expired"}

_COMPARE: dict[ComparisonOperator, Callable[[Any, Any], bool]] = {
    ComparisonOperator.equals: operator.eq,
    ComparisonOperator.not_equals: operator.ne,
    ComparisonOperator.greater_than: operator.gt,
    ComparisonOperator.less_than: operator.lt,
    ComparisonOperator.greater_than_equal: operator.ge,
    ComparisonOperator.less_than_equal: operator.le,
}


class RelationalSearch(SearchInterface):
    database: Any
    epoch: Any
    index: Any = None  # FactIndex
    open_only: bool = False  # what a private document says or names is not there

    async def edge_fulltext_search(
        self, driver: Any, query: str, search_filter: Any, group_ids: list[str] | None = None, limit: int = 100
    ) -> list[EntityEdge]:
        numbers = conditions(search_filter)
        found = await self._indexed("fact", group_ids, limit, words=query, numbers=numbers)
        if found is not None:
            return await self._edges(found, search_filter)
        nodes = await self._named(query, group_ids)
        return await self._touching([node.uuid for node in nodes], query, search_filter, group_ids, limit)

    async def edge_similarity_search(
        self,
        driver: Any,
        search_vector: list[float],
        source_node_uuid: str | None,
        target_node_uuid: str | None,
        search_filter: Any,
        group_ids: list[str] | None = None,
        limit: int = 100,
        min_score: float = 0.7,
    ) -> list[EntityEdge]:
        ends = [end for end in (source_node_uuid, target_node_uuid) if end]
        numbers = conditions(search_filter)
        found = await self._indexed("fact", group_ids, limit, vector=search_vector, numbers=numbers, ends=ends)
        edges = await self._edges([hit for hit in found or () if hit.score >= min_score], search_filter)
        return [edge for edge in edges if _joins(edge, source_node_uuid, target_node_uuid)]

    async def node_fulltext_search(
        self, driver: Any, query: str, search_filter: Any, group_ids: list[str] | None = None, limit: int = 100
    ) -> list[EntityNode]:
        found = await self._indexed("entity", group_ids, limit, words=query)
        nodes = await self._named(query, group_ids) if found is None else await self._nodes(found)
        return [node for node in nodes if _labelled(node, search_filter)][:limit]

    async def node_similarity_search(
        self,
        driver: Any,
        search_vector: list[float],
        search_filter: Any,
        group_ids: list[str] | None = None,
        limit: int = 100,
        min_score: float = 0.7,
    ) -> list[EntityNode]:
        found = await self._indexed("entity", group_ids, limit, vector=search_vector)
        nodes = await self._nodes([hit for hit in found or () if hit.score >= min_score])
        return [node for node in nodes if _labelled(node, search_filter)]

    async def episode_fulltext_search(self, *_: Any, **__: Any) -> list[Any]:
        """Chunks are found by the retrieval's own search, turns by the conversation store's."""
        return []

    async def community_fulltext_search(self, *_: Any, **__: Any) -> list[Any]:
        return []

    async def community_similarity_search(self, *_: Any, **__: Any) -> list[Any]:
        return []

    async def get_embeddings_for_communities(self, driver: Any, communities: list[Any]) -> dict[str, list[float]]:
        return {}

    async def edge_bfs_search(
        self,
        driver: Any,
        bfs_origin_node_uuids: list[str] | None,
        bfs_max_depth: int,
        search_filter: Any,
        group_ids: list[str] | None = None,
        limit: int = 100,
    ) -> list[EntityEdge]:
        frontier = set(bfs_origin_node_uuids or ())
        seen: dict[str, EntityEdge] = {}
        reached = set(frontier)
        for _ in range(min(bfs_max_depth, MAX_DEPTH)):
            if not frontier or len(seen) >= limit:
                break
            found = await self._touching(sorted(frontier), "", search_filter, group_ids, MAX_CANDIDATES)
            seen.update((edge.uuid, edge) for edge in found)
            frontier = {end for edge in found for end in (edge.source_node_uuid, edge.target_node_uuid)} - reached
            reached |= frontier
        return list(seen.values())[:limit]

    async def node_bfs_search(
        self,
        driver: Any,
        bfs_origin_node_uuids: list[str] | None,
        search_filter: Any,
        bfs_max_depth: int,
        group_ids: list[str] | None = None,
        limit: int = 100,
    ) -> list[EntityNode]:
        edges = await self.edge_bfs_search(driver, bfs_origin_node_uuids, bfs_max_depth, search_filter, group_ids)
        ids = {end for edge in edges for end in (edge.source_node_uuid, edge.target_node_uuid)}
        wanted = entities.c.id.in_(sorted(ids - set(bfs_origin_node_uuids or ())))
        async with self.database.read() as connection:
            return (await self._load_nodes(connection, wanted))[:limit]

    async def _indexed(
        self, kind: Any, group_ids: list[str] | None, limit: int, *, vector: list[float] | None = None, **how: Any
    ) -> list[Scored] | None:
        """None where the index cannot answer. A vector that is not as wide as the index's finds nothing."""
        if self.index is None or not self.index.complete():
            return None
        if vector is not None:
            if len(vector) != self.index.embedder.dimensions:
                return []
            how["vector"] = np.asarray(vector, np.float32)
        try:
            return await self.index.like(kind, group_ids or [], await self.epoch.epoch(), limit, **how)
        except IndexUnavailable:
            return None

    async def _edges(self, found: Sequence[Scored], search_filter: Any) -> list[EntityEdge]:
        epoch, ids = await self.epoch.epoch(), [hit.id for hit in found]
        async with self.database.read() as connection:
            known = {edge.uuid: edge for edge in await self._load_edges(connection, epoch, facts.c.id.in_(ids))}
        return [known[each] for each in ids if each in known and _passes(known[each], search_filter)]

    async def _nodes(self, found: Sequence[Scored]) -> list[EntityNode]:
        ids = [hit.id for hit in found]
        async with self.database.read() as connection:
            known = {node.uuid: node for node in await self._load_nodes(connection, entities.c.id.in_(ids))}
        return [known[each] for each in ids if each in known]

    async def _load_nodes(self, connection: AsyncConnection, condition: Any) -> list[EntityNode]:
        return await load_nodes(connection, and_(condition, open_entities(self.open_only)))

    async def _load_edges(
        self, connection: AsyncConnection, epoch: int, condition: Any, limit: int | None = None
    ) -> list[EntityEdge]:
        return await load_edges(connection, epoch, and_(condition, open_facts(self.open_only)), limit)

    async def _named(self, query: str, group_ids: list[str] | None) -> list[EntityNode]:
        epoch = await self.epoch.epoch()
        async with self.database.read() as connection:
            found = await named(connection, group_ids or [], asked(query), epoch)
            nodes = await self._load_nodes(connection, entities.c.id.in_([entity.id for entity in found]))
        by_id = {node.uuid: node for node in nodes}
        return [by_id[entity.id] for entity in found if entity.id in by_id]

    async def _touching(
        self, ids: list[str], query: str, search_filter: Any, group_ids: list[str] | None, limit: int
    ) -> list[EntityEdge]:
        """Facts of these entities that pass the filter, those that share most words with the query first."""
        epoch = await self.epoch.epoch()
        wanted = and_(
            facts.c.group_id.in_(group_ids or []), or_(facts.c.source_id.in_(ids), facts.c.target_id.in_(ids))
        )
        async with self.database.read() as connection:
            found = await self._load_edges(connection, epoch, wanted, MAX_CANDIDATES)
        passed = [edge for edge in found if _passes(edge, search_filter)]
        scores = overlap(query, [edge.fact for edge in passed])
        ranked = sorted(zip(passed, scores, strict=True), key=lambda pair: (-pair[1], pair[0].uuid))
        return [edge for edge, _ in ranked[:limit]]


def _labelled(node: EntityNode, search_filter: Any) -> bool:
    wanted = search_filter.node_labels if search_filter else None
    return not wanted or bool(set(wanted) & set(node.labels))


def _joins(edge: EntityEdge, source: str | None, target: str | None) -> bool:
    return source in (None, edge.source_node_uuid) and target in (None, edge.target_node_uuid)


def conditions(search_filter: Any) -> tuple[tuple[Within, ...], ...]:
    """Graphiti's conditions on dates as bounds, no narrower than they are; `_passes` looks closer."""
    if search_filter is None:
        return ()
    wanted = [(name, getattr(search_filter, field)) for field, name in _NUMBERS.items()]
    return tuple(tuple(_bounds(name, group) for group in groups) for name, groups in wanted if groups)


def _bounds(name: str, group: Sequence[DateFilter]) -> Within:
    above, upto = -math.inf, math.inf
    for one in group:
        if one.date is None:
            continue
        moment = one.date.timestamp()
        if one.comparison_operator in (ComparisonOperator.greater_than, ComparisonOperator.greater_than_equal):
            above = max(above, math.nextafter(moment, -math.inf))
        elif one.comparison_operator in (ComparisonOperator.less_than, ComparisonOperator.less_than_equal):
            upto = min(upto, moment)
    return Within(name, None if above == -math.inf else above, None if upto == math.inf else upto)


def _passes(edge: EntityEdge, search_filter: Any) -> bool:
    if search_filter is None:
        return True
    allowed = (
        (search_filter.edge_types, edge.name),
        (search_filter.edge_uuids, edge.uuid),
        (search_filter.edge_source_node_uuids, edge.source_node_uuid),
        (search_filter.edge_target_node_uuids, edge.target_node_uuid),
    )
    dates = ("valid_at", "invalid_at", "created_at", "expired_at")
    return all(values is None or value in values for values, value in allowed) and all(
        _dated(getattr(edge, name), getattr(search_filter, name)) for name in dates
    )


def _dated(value: datetime | None, alternatives: list[list[DateFilter]] | None) -> bool:
    """Alternatives are joined by or, the conditions of each by and."""
    return not alternatives or any(all(_meets(value, one) for one in group) for group in alternatives)


def _meets(value: datetime | None, wanted: DateFilter) -> bool:
    if wanted.comparison_operator is ComparisonOperator.is_null:
        return value is None
    if wanted.comparison_operator is ComparisonOperator.is_not_null:
        return value is not None
    return value is not None and _COMPARE[wanted.comparison_operator](value, wanted.date)
