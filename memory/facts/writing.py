"""What documents say goes into the graph memory, and what nothing proves any more goes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.scope import derived_id, group_id
from memory.extraction import Extract, FoundFact
from memory.facts.dropping import drop_unsupported
from memory.facts.history import forget_sources
from memory.facts.rows import batches, column, put_graph, put_new, tell_graph
from memory.facts.tables import (
    NAME_LENGTH,
    aliases,
    entities,
    episodes,
    evidence,
    facts,
    groups,
    homes,
    mentions,
    refused,
)
from memory.naming import key
from memory.reading.queue import forget_chunks

_REFUSED = select(refused.c.fact_id).where(refused.c.group_id == bindparam("group"))


@dataclass(slots=True)
class _Rows:
    """Rows of one write, by their keys."""

    group: str
    collection: str
    now: datetime
    entities: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    aliases: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict[tuple[str, str], dict[str, Any]])
    facts: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    episodes: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    mentions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    evidence: dict[tuple[str, str, int], dict[str, Any]] = field(
        default_factory=dict[tuple[str, str, int], dict[str, Any]]
    )
    homes: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def add(self, version_id: str, chunk_id: str, extract: Extract) -> None:
        common = {"group_id": self.group, "collection": self.collection}
        ids = {found.key: derived_id("entity", self.group, found.key) for found in extract.entities}
        self.episodes.append(
            {**common, "id": chunk_id, "version_id": version_id, "name": "", "source": "text", "description": "chunk"}
            | {"content": "", "valid_at": None, "created_at": self.now}
        )
        for found in extract.entities:
            identifier = ids[found.key]
            self.entities.setdefault(
                identifier,
                {**common, "id": identifier, "name": found.name[:NAME_LENGTH], "key": found.key, "summary": ""}
                | {"labels": ["Entity", found.label], "attributes": {}, "created_at": self.now},
            )
            self.mentions.append({**common, "episode_id": chunk_id, "entity_id": identifier, "created_at": self.now})
            for alias in found.aliases:
                self.aliases[identifier, alias] = {**common, "entity_id": identifier, "key": alias}
        for fact in extract.facts:
            self._add_fact(version_id, chunk_id, fact, ids)
        for home in extract.homes:
            self.homes.append(
                {"collection": self.collection, "key": home, "chunk_id": chunk_id, "version_id": version_id}
            )

    def leave_out(self, unwanted: set[str]) -> None:
        """Facts that a person corrected or forbade are not learnt again from the same words."""
        for identifier in unwanted & self.facts.keys():
            del self.facts[identifier]
        if unwanted:
            self.evidence = {place: row for place, row in self.evidence.items() if row["fact_id"] in self.facts}

    def write(self, connection: Connection) -> None:
        self.leave_out({row[0] for row in connection.execute(_REFUSED, {"group": self.group})})
        put_new(connection, groups, [{"id": self.group, "kind": "d", "name": self.collection}])
        put_new(connection, entities, list(self.entities.values()))
        put_new(connection, aliases, list(self.aliases.values()))
        put_new(connection, facts, list(self.facts.values()))
        put_new(connection, episodes, self.episodes)
        put_new(connection, mentions, self.mentions)
        put_new(connection, evidence, list(self.evidence.values()))
        put_new(connection, homes, self.homes)
        put_graph(connection, entities=self.entities, facts=self.facts)

    def _add_fact(self, version_id: str, chunk_id: str, found: FoundFact, ids: dict[str, str]) -> None:
        common = {"group_id": self.group, "collection": self.collection}
        source, target = ids[found.source], ids[found.target]
        identifier = derived_id("fact", self.group, source, found.relation, target, key(found.text))
        self.facts.setdefault(
            identifier,
            {**common, "id": identifier, "source_id": source, "target_id": target, "relation": found.relation}
            | {"text": found.text, "attributes": {}, "created_at": self.now}
            | {"valid_at": found.valid_at, "invalid_at": found.invalid_at}
            | dict.fromkeys(("expired_at", "reference_time")),
        )
        same = found.quote == self.facts[identifier]["text"]
        self.evidence[identifier, chunk_id, found.start] = {
            **common,
            "fact_id": identifier,
            "episode_id": chunk_id,
            "start": found.start,
            "end": found.end,
            "version_id": version_id,
            "quote": None if same else found.quote,
        }


class GraphWriter:
    """`retrieval.ingestion.preparing.GraphSink`. Everything in the caller's transaction."""

    def writing(
        self, collection: str, document_id: str, version_id: str, chunk_ids: Sequence[str], extracts: Sequence[Any]
    ) -> Callable[[Connection], None]:
        rows = _Rows(group_id("d", collection), collection, datetime.now(UTC))
        for chunk, extract in zip(chunk_ids, extracts, strict=True):
            rows.add(version_id, chunk, extract)
        return rows.write

    async def remove(self, connection: AsyncConnection, version_id: str) -> None:
        """Take the version's evidence away, each fact with its last evidence, each entity with its last mention."""
        of_version = await column(connection, select(episodes.c.id).where(episodes.c.version_id == version_id))
        await connection.execute(delete(homes).where(homes.c.version_id == version_id))
        await remove_episodes(connection, of_version)


async def remove_episodes(connection: AsyncConnection, episode_ids: Sequence[str]) -> int:
    """Take what these episodes prove away: each fact with its last evidence, each entity with its last mention.

    How many facts went.
    """
    touched: set[str] = set()
    spoken_of: set[str] = set()
    for part in batches(episode_ids):
        proven = select(evidence.c.fact_id).distinct().where(evidence.c.episode_id.in_(part))
        touched |= set(await column(connection, proven))
        named_in = select(mentions.c.entity_id).distinct().where(mentions.c.episode_id.in_(part))
        spoken_of |= set(await column(connection, named_in))
        for table, name in ((evidence, "episode_id"), (mentions, "episode_id"), (episodes, "id")):
            await connection.execute(delete(table).where(table.c[name].in_(part)))
        await forget_chunks(connection, part)
    await tell_graph(connection, entities=sorted(spoken_of), facts=sorted(touched))  # those that stay: seen otherwise
    gone = await drop_unsupported(connection, sorted(touched), sorted(spoken_of))
    await forget_sources(connection, gone, episode_ids)
    return len(gone)


async def refused_of(connection: AsyncConnection, group: str) -> set[str]:
    """Ids of facts that are not to be learnt in this group."""
    return {row[0] for row in await connection.execute(_REFUSED, {"group": group})}
