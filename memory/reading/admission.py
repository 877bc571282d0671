"""What a model found in a chunk, let in or set apart, in the one transaction that says that the chunk was read.

Graphiti's bulk save hands entities and facts over to here instead of writing them. Each fact is held against the chunk:
what a sentence of it states is stored as rules' facts are, in that sentence's words and with the dates that it states,
under the ids that rules would give; all else is set apart with the reason. Facts that are there are never changed: no
model retires a true one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.scope import derived_id, group_id
from memory.extraction import NAME, Extract, FoundEntity, FoundFact, dated
from memory.facts.rows import batches, insert_new
from memory.facts.tables import NAME_LENGTH, aliases, episodes
from memory.facts.writing import GraphWriter
from memory.naming import key
from memory.reading.entailment import Claim, Judged, judged, named
from memory.reading.queue import Reading
from memory.reading.tables import quarantined
from retrieval.tables import chunks, versions

MOST = 40  # entities, and facts, of one chunk
LONGEST = 1000  # characters of what is set apart

Rows = Sequence[Mapping[str, Any]]


@dataclass
class Admission:
    """Of one chunk. `finish` is called in the transaction, after everything is written, and may refuse all of it."""

    reading: Reading
    model: Callable[[], str]
    now: Callable[[], datetime]
    finish: Callable[[AsyncConnection], Awaitable[None]]
    rehearsed: bool = False  # nothing is written
    nodes: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])
    edges: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])

    async def commit(self, connection: AsyncConnection) -> None:
        if self.rehearsed:
            return
        reading, place = self.reading, await self._place(connection)
        if place is not None:  # otherwise the chunk was deleted meanwhile
            names = await self._names(connection)
            extract, refused = self._sorted(names, *place)
            ids = ([reading.chunk_id], [extract])
            await connection.run_sync(GraphWriter().writing(reading.collection, place[1], reading.version_id, *ids))
            await insert_new(connection, quarantined, refused)
        await self.finish(connection)

    async def _place(self, connection: AsyncConnection) -> tuple[int, str] | None:
        """Where the chunk's text starts in its document's, and the document."""
        query = (
            select(chunks.c.start, versions.c.document_id)
            .join(versions, versions.c.id == chunks.c.version_id)
            .join(episodes, episodes.c.id == chunks.c.id)
            .where(chunks.c.id == self.reading.chunk_id)
        )
        row = (await connection.execute(query)).first()
        return None if row is None else (row[0], row[1])

    async def _names(self, connection: AsyncConnection) -> dict[str, list[str]]:
        """All names of each entity, by the id that Graphiti knows it by."""
        found = {str(node["uuid"]): [str(node["name"])[:NAME_LENGTH]] for node in self.nodes[:MOST]}
        for part in batches(found):
            query = select(aliases.c.entity_id, aliases.c.key).where(aliases.c.entity_id.in_(part))
            for entity, alias in await connection.execute(query):
                found[entity].append(alias)
        return {identifier: names for identifier, names in found.items() if key(names[0])}

    def _sorted(
        self, names: Mapping[str, list[str]], offset: int, document_id: str
    ) -> tuple[Extract, list[dict[str, Any]]]:
        text, facts, refused = self.reading.text, list[FoundFact](), list[dict[str, Any]]()
        for edge in self.edges[:MOST]:
            ends = (names.get(edge["source_node_uuid"]), names.get(edge["target_node_uuid"]))
            if ends[0] is None or ends[1] is None or key(ends[0][0]) == key(ends[1][0]):
                continue
            claim = Claim(ends[0], str(edge["name"])[:120], ends[1], str(edge["fact"])[:LONGEST])
            found = judged(claim, text)
            if found.reason:
                refused.append(self._refused(claim, found))
            else:
                facts.append(_fact(claim, found, offset))
        known = [each[0] for each in names.values() if any(named(name, text) for name in each)]
        entities = {key(name): FoundEntity(name, key(name), NAME) for name in known}
        return Extract(tuple(entities.values()), tuple(facts)), refused

    def _refused(self, claim: Claim, found: Judged) -> dict[str, Any]:
        reading = self.reading
        group = group_id("d", reading.collection)
        parts = (claim.subjects[0], claim.relation, claim.objects[0], claim.text)
        return {
            "id": derived_id("quarantined", reading.chunk_id, *parts),
            "group_id": group,
            "collection": reading.collection,
            "episode_id": reading.chunk_id,
            "version_id": reading.version_id,
            "subject": claim.subjects[0],
            "relation": claim.relation,
            "object": claim.objects[0],
            "text": claim.text,
            "quote": found.quote[:LONGEST],
            "reason": found.reason,
            "model": self.model()[:200],
            "at": self.now(),
        }


def _fact(claim: Claim, found: Judged, offset: int) -> FoundFact:
    words = " ".join(found.quote.split())
    ends = (key(claim.subjects[0]), key(claim.objects[0]))
    place = (offset + found.start, offset + found.end, found.quote)
    return FoundFact(*ends, claim.relation, words, *place, *dated(found.quote.replace(claim.objects[0], "_")))
