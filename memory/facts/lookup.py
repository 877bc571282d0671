"""Graphiti's searches, answered by the relational tables: by the names in a text, and by shared words.

A search by vector finds nothing here, because no embedding is kept in the graph: what Graphiti would look for by
similarity it finds by name and by words.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import datetime
from typing import Any

from graphiti_core.driver.search_interface.search_interface import SearchInterface
from graphiti_core.edges import EntityEdge
from graphiti_core.nodes import EntityNode
from graphiti_core.search.search_filters import ComparisonOperator, DateFilter
from sqlalchemy import and_, or_

from memory.facts.loading import named
from memory.facts.objects import load_edges, load_nodes
from memory.facts.store import MAX_CANDIDATES
from memory.facts.tables import entities, facts
from memory.facts.wording import overlap
from memory.naming import asked

MAX_DEPTH = 4

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

    async def edge_fulltext_search(
        self, driver: Any, query: str, search_filter: Any, group_ids: list[str] | None = None, limit: int = 100
    ) -> list[EntityEdge]:
        nodes = await self._named(query, group_ids)
        return await self._touching([node.uuid for node in nodes], query, search_filter, group_ids, limit)

    async def edge_similarity_search(self, *_: Any, **__: Any) -> list[EntityEdge]:
        return []

    async def node_fulltext_search(
        self, driver: Any, query: str, search_filter: Any, group_ids: list[str] | None = None, limit: int = 100
    ) -> list[EntityNode]:
        found = await self._named(query, group_ids)
        return [node for node in found if _labelled(node, search_filter)][:limit]

    async def node_similarity_search(self, *_: Any, **__: Any) -> list[EntityNode]:
        return []

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
            return (await load_nodes(connection, wanted))[:limit]

    async def _named(self, query: str, group_ids: list[str] | None) -> list[EntityNode]:
        epoch = await self.epoch.epoch()
        async with self.database.read() as connection:
            found = await named(connection, group_ids or [], asked(query), epoch)
            nodes = await load_nodes(connection, entities.c.id.in_([entity.id for entity in found]))
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
            found = await load_edges(connection, epoch, wanted, MAX_CANDIDATES)
        passed = [edge for edge in found if _passes(edge, search_filter)]
        scores = overlap(query, [edge.fact for edge in passed])
        ranked = sorted(zip(passed, scores, strict=True), key=lambda pair: (-pair[1], pair[0].uuid))
        return [edge for edge, _ in ranked[:limit]]


def _labelled(node: EntityNode, search_filter: Any) -> bool:
    wanted = search_filter.node_labels if search_filter else None
    return not wanted or bool(set(wanted) & set(node.labels))


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
