"""Graphiti's nodes and edges as rows of ours, and back. Embeddings are left out: they live in the vector store.

Imports Graphiti (about half a second): import this module where a graph is opened, not at start.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from graphiti_core.edges import EntityEdge
from graphiti_core.nodes import EntityNode, EpisodeType, EpisodicNode
from sqlalchemy import RowMapping, Table, and_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.errors import InvalidInput
from memory.facts.guard import entailed, guarded
from memory.facts.rows import batches, insert_new, tell_graph
from memory.facts.tables import NAME_LENGTH, entities, episodes, evidence, facts, groups, mentions
from memory.facts.visibility import stated
from memory.facts.wording import content_words
from memory.naming import key
from memory.sentences import sentences
from retrieval.tables import chunks, versions

logger = logging.getLogger(__name__)

PLACEHOLDER = [0.0]  # in the place of an embedding: Graphiti makes one wherever it finds none
LONGEST_QUOTE = 600

_NODE_FIELDS = frozenset(EntityNode.model_fields)
_EDGE_FIELDS = frozenset(EntityEdge.model_fields)


async def save_nodes(connection: AsyncConnection, nodes: Sequence[Mapping[str, Any]]) -> None:
    """Insert or replace entities given as Graphiti's bulk save gives them: attributes beside the fields."""
    names = await _collections(connection, nodes)
    rows: list[dict[str, Any]] = [
        {
            "id": node["uuid"],
            "group_id": node["group_id"],
            "collection": names[node["group_id"]],
            "name": node["name"][:NAME_LENGTH],
            "key": key(node["name"]),
            "labels": sorted(node.get("labels") or []),
            "summary": node.get("summary") or "",
            "attributes": _plain(node, _NODE_FIELDS),
            "created_at": _aware(node["created_at"]),
        }
        for node in nodes
    ]
    await _replace(connection, entities, rows)
    await tell_graph(connection, entities=[row["id"] for row in rows])


async def save_episodes(connection: AsyncConnection, given: Sequence[Mapping[str, Any]]) -> None:
    """Insert episodes. One that is a chunk is there already, and stays as it is."""
    names = await _collections(connection, given)
    rows = [
        {
            "id": episode["uuid"],
            "group_id": episode["group_id"],
            "collection": names[episode["group_id"]],
            "version_id": None,
            "name": episode["name"],
            "source": str(getattr(episode["source"], "value", episode["source"])),
            "description": episode.get("source_description") or "",
            "content": episode.get("content") or "",
            "valid_at": _aware(episode.get("valid_at")),
            "created_at": _aware(episode["created_at"]),
        }
        for episode in given
    ]
    await insert_new(connection, episodes, rows)


async def save_mentions(connection: AsyncConnection, edges: Sequence[Mapping[str, Any]]) -> None:
    names = await _collections(connection, edges)
    rows = {
        (edge["source_node_uuid"], edge["target_node_uuid"]): {
            "episode_id": edge["source_node_uuid"],
            "entity_id": edge["target_node_uuid"],
            "group_id": edge["group_id"],
            "collection": names[edge["group_id"]],
            "created_at": _aware(edge["created_at"]),
        }
        for edge in edges
    }
    await insert_new(connection, mentions, list(rows.values()))
    await tell_graph(connection, entities=dict.fromkeys(entity for _, entity in rows))  # they may be seen from now on


async def save_edges(
    connection: AsyncConnection, edges: Sequence[Mapping[str, Any]], *, entailed_only: bool = False
) -> None:
    """Insert or replace facts, with evidence from the episodes they name. Raises InvalidInput without any.

    A stored fact is ended only as `memory.facts.guard` allows. `entailed_only`: new facts that their episodes do not
    state are left out, as what a model made up.
    """
    names = await _collections(connection, edges)
    edges = await guarded(connection, edges)
    if entailed_only:
        edges = await _entailed(connection, edges)
    rows: list[dict[str, Any]] = [
        {
            "id": edge["uuid"],
            "group_id": edge["group_id"],
            "collection": names[edge["group_id"]],
            "source_id": edge["source_node_uuid"],
            "target_id": edge["target_node_uuid"],
            "relation": edge["name"][:120],
            "text": edge["fact"],
            "attributes": _plain(edge, _EDGE_FIELDS),
            **{name: _aware(edge.get(name)) for name in ("valid_at", "invalid_at", "expired_at", "reference_time")},
            "created_at": _aware(edge["created_at"]),
        }
        for edge in edges
    ]
    await _replace(connection, facts, rows)
    await insert_new(connection, evidence, await _evidence(connection, edges, names))
    await tell_graph(connection, facts=[row["id"] for row in rows])


async def _entailed(connection: AsyncConnection, edges: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    known = await _texts(connection, {episode for edge in edges for episode in edge["episodes"]})
    kept: list[dict[str, Any]] = []
    for edge in edges:
        contents = [known[episode][2] for episode in edge["episodes"] if episode in known]
        quotes = [content[slice(*_quoted(content, edge["fact"]))] for content in contents]
        if not quotes or any(entailed(edge["fact"], quote) for quote in quotes):
            kept.append(edge)
        else:
            logger.warning("A fact that its episode does not state was not stored: %s", edge["uuid"])
    return kept


async def load_nodes(connection: AsyncConnection, condition: Any, limit: int | None = None) -> list[EntityNode]:
    query = select(entities).where(condition).order_by(entities.c.id).limit(limit)
    return [
        EntityNode(
            uuid=row["id"],
            name=row["name"],
            group_id=row["group_id"],
            labels=[label for label in row["labels"] if label.isidentifier()],
            summary=row["summary"],
            attributes=row["attributes"],
            created_at=row["created_at"],
            name_embedding=PLACEHOLDER,
        )
        for row in (await connection.execute(query)).mappings()
    ]


async def load_edges(
    connection: AsyncConnection, epoch: int, condition: Any, limit: int | None = None
) -> list[EntityEdge]:
    """Visible facts that meet the condition, in order of id."""
    return await load_recorded_edges(connection, and_(condition, stated(epoch)), limit)


async def load_recorded_edges(
    connection: AsyncConnection, condition: Any, limit: int | None = None
) -> list[EntityEdge]:
    """The same whether visible or not: what a projection holds."""
    query = select(facts).where(condition).order_by(facts.c.id).limit(limit)
    rows = list((await connection.execute(query)).mappings())
    proofs: dict[str, list[str]] = {row["id"]: [] for row in rows}
    for part in batches(proofs):
        found = select(evidence.c.fact_id, evidence.c.episode_id).where(evidence.c.fact_id.in_(part)).distinct()
        for fact, episode in await connection.execute(found):
            proofs[fact].append(episode)
    return [_edge(row, sorted(proofs[row["id"]])) for row in rows]


def _edge(row: RowMapping, named: list[str]) -> EntityEdge:
    return EntityEdge(
        uuid=row["id"],
        group_id=row["group_id"],
        source_node_uuid=row["source_id"],
        target_node_uuid=row["target_id"],
        name=row["relation"],
        fact=row["text"],
        episodes=named,
        attributes=row["attributes"],
        created_at=row["created_at"],
        expired_at=row["expired_at"],
        valid_at=row["valid_at"],
        invalid_at=row["invalid_at"],
        reference_time=row["reference_time"],
        fact_embedding=PLACEHOLDER,
    )


async def load_episodes(
    connection: AsyncConnection, condition: Any, order: Sequence[Any] = (), limit: int | None = None
) -> list[EpisodicNode]:
    """Episodes with their texts; that of a chunk is read from the catalogue."""
    query = (
        select(episodes, chunks.c.text, versions.c.title)
        .select_from(
            episodes.outerjoin(chunks, chunks.c.id == episodes.c.id).outerjoin(
                versions, versions.c.id == episodes.c.version_id
            )
        )
        .where(condition)
        .order_by(*order, episodes.c.id)
        .limit(limit)
    )
    return [_episode(row) for row in (await connection.execute(query)).mappings()]


def _episode(row: RowMapping) -> EpisodicNode:
    return EpisodicNode(
        uuid=row["id"],
        name=row["name"] or row["title"] or "",
        group_id=row["group_id"],
        source=EpisodeType.from_str(row["source"]),
        source_description=row["description"],
        content=row["content"] if row["version_id"] is None else row["text"] or "",
        valid_at=row["valid_at"] or row["created_at"],
        created_at=row["created_at"],
    )


async def _evidence(
    connection: AsyncConnection, edges: Sequence[Mapping[str, Any]], names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """A row per fact and episode: the sentence of the episode that says most of what the fact says."""
    known = await _texts(connection, {episode for edge in edges for episode in edge["episodes"]})
    rows: list[dict[str, Any]] = []
    for edge in edges:
        found = [episode for episode in dict.fromkeys(edge["episodes"]) if episode in known]
        if not found:
            raise InvalidInput(
                f"The fact {edge['fact']!r} names no episode that is stored, so nothing proves it; save its episode "
                "with it or before it.",
                fact_id=edge["uuid"],
            )
        for episode in found:
            version, offset, content = known[episode]
            start, end = _quoted(content, edge["fact"])
            quote = content[start:end]
            rows.append(
                {
                    "fact_id": edge["uuid"],
                    "episode_id": episode,
                    "start": offset + start,
                    "end": offset + end,
                    "group_id": edge["group_id"],
                    "collection": names[edge["group_id"]],
                    "version_id": version,
                    "quote": None if quote == edge["fact"] else quote,
                }
            )
    return await _without_known(connection, rows)


async def _without_known(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out pairs of fact and episode that have evidence: a fact saved again keeps the quote it was made from."""
    known: set[tuple[str, str]] = set()
    for part in batches({row["fact_id"] for row in rows}):
        query = select(evidence.c.fact_id, evidence.c.episode_id).where(evidence.c.fact_id.in_(part))
        known |= {(row[0], row[1]) for row in await connection.execute(query)}
    return [row for row in rows if (row["fact_id"], row["episode_id"]) not in known]


async def _texts(connection: AsyncConnection, ids: Iterable[str]) -> dict[str, tuple[str | None, int, str]]:
    """For each stored episode: its version, where its text starts in that version's text, and its text."""
    found: dict[str, tuple[str | None, int, str]] = {}
    for part in batches(sorted(ids)):
        query = (
            select(episodes.c.id, episodes.c.version_id, episodes.c.content, chunks.c.start, chunks.c.text)
            .select_from(episodes.outerjoin(chunks, chunks.c.id == episodes.c.id))
            .where(episodes.c.id.in_(part))
        )
        for identifier, version, content, start, text in await connection.execute(query):
            found[identifier] = (version, start or 0, content if version is None else text or "")
    return found


def _quoted(content: str, fact: str) -> tuple[int, int]:
    wanted = content_words(fact)
    best = max(
        sentences(content, 0, len(content)),
        key=lambda sentence: len(content_words(sentence.text) & wanted),
        default=None,
    )
    return (best.start, best.end) if best else (0, min(len(content), LONGEST_QUOTE))


async def _collections(connection: AsyncConnection, objects: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The collection of each group; empty for a user's. Raises InvalidInput for a group that nobody has made."""
    wanted = {given["group_id"] for given in objects}
    query = select(groups.c.id, groups.c.kind, groups.c.name).where(groups.c.id.in_(wanted))
    found = {row[0]: row[2] if row[1] == "d" else "" for row in await connection.execute(query)}
    for unknown in wanted - found.keys():
        raise InvalidInput(f"There is no group {unknown!r}; make it with `ensure_group` before writing to it.")
    return found


async def _replace(connection: AsyncConnection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        return
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(table)
    changed = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
    changed.pop("created_at")
    last = {row["id"]: row for row in rows}
    ordered = [last[identifier] for identifier in sorted(last)]
    await connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changed), ordered)


def _plain(given: Mapping[str, Any], fields: frozenset[str]) -> dict[str, Any]:
    """What is beside the known fields, as JSON can hold it."""
    extra = {name: value for name, value in given.items() if name not in fields and name != "attributes"}
    extra |= given.get("attributes") or {}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in extra.items()}


def _aware(moment: datetime | None) -> datetime | None:
    """Graphiti's models may give naive times; they mean UTC."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
