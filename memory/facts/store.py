"""The graph memory in the relational store: written by ingestion, read through a scope."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from sqlalchemy import RowMapping, Table, and_, delete, exists, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database import Database
from aegis.database.outbox import append
from aegis.errors import NotFound
from aegis.scope import Scope, Span, derived_id, group_id
from memory.extraction import Extract, FoundFact
from memory.facts import Entity, Evidence, Fact, ScoredFact
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
from memory.naming import SELF, STARTS_NO_NAME, asked, key, speaks_of_self, words
from retrieval.catalogue import versions, visible_at
from retrieval.embedding import Embedder
from retrieval.ingestion.publishing import publications

TOPIC = "graph"  # outbox rows: {"entities": [...], "facts": [...]} to load anew, {"gone_...": [...]} to delete
BATCH = 500  # ids named in one statement
MAX_CANDIDATES = 400  # facts of the entities named in a question that are ranked
MAX_EMBEDDED = 40  # best facts that are compared by embedding, too
MAX_NAMED = 200  # entities of one question
PAYLOAD_IDS = 200  # ids in one outbox row


class Epoch(Protocol):
    """What is needed of `retrieval.catalogue.Catalogue`."""

    async def epoch(self) -> int: ...


def groups_of(scope: Scope) -> list[str]:
    """The groups of a scope's collections, and that of its user."""
    of_documents = [group_id("d", collection) for collection in sorted(scope.collections)]
    return [*of_documents, group_id("u", scope.user)] if scope.personal else of_documents


def shown(epoch: int) -> Any:
    """Condition on evidence outer-joined with versions: seen at this epoch. Without a version it always is."""
    return or_(evidence.c.version_id.is_(None), visible_at(epoch))


def stated(epoch: int, as_of: datetime | None = None) -> Any:
    """Condition on facts: at least one evidence row is seen at this epoch, and none that dates the fact is later."""
    seen = evidence.outerjoin(versions, versions.c.id == evidence.c.version_id)
    proven = [evidence.c.fact_id == facts.c.id, shown(epoch)]
    if as_of is not None:  # a fact without a date of its own was not known to hold before its document was written
        proven.append(or_(facts.c.valid_at.is_not(None), versions.c.dated.is_(None), versions.c.dated <= as_of))
    return exists(select(1).select_from(seen).where(*proven))


def true_at(moment: datetime, known: datetime | None = None) -> Any:
    """Condition on facts: true then, as far as is stated; and as far as was `known` then."""
    ended = facts.c.invalid_at <= moment
    if known is not None:
        ended = and_(ended, or_(facts.c.expired_at.is_(None), facts.c.expired_at <= known))
    began = or_(facts.c.valid_at.is_(None), facts.c.valid_at <= moment)
    return and_(began, or_(facts.c.invalid_at.is_(None), ~ended))


def learnt_by(known: datetime) -> Any:
    """Condition on facts of conversations: said by then. Those of documents follow their versions' epochs."""
    return or_(facts.c.collection != "", facts.c.created_at <= known)


def mentioned(epoch: int) -> Any:
    """Condition on entities: an episode seen at this epoch mentions it."""
    seen = mentions.join(episodes, episodes.c.id == mentions.c.episode_id).outerjoin(
        versions, versions.c.id == episodes.c.version_id
    )
    visible = or_(episodes.c.version_id.is_(None), visible_at(epoch))
    return exists(select(1).select_from(seen).where(mentions.c.entity_id == entities.c.id, visible))


def batches(ids: Iterable[str], size: int = BATCH) -> Iterable[list[str]]:
    listed = list(ids)
    return (listed[start : start + size] for start in range(0, len(listed), size))


async def insert_new(connection: AsyncConnection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows that are not there yet. In order of their keys, so that two writers never wait in a circle."""
    if not rows:
        return
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    keys = [column.name for column in table.primary_key.columns]
    ordered = sorted(rows, key=lambda row: tuple(row[name] for name in keys))
    await connection.execute(insert(table).on_conflict_do_nothing(), ordered)


async def tell_graph(connection: AsyncConnection, **ids: Iterable[str]) -> None:
    """Outbox rows for the graph projection: which entities and facts are new, changed, or gone."""
    payloads = [{kind: part} for kind, listed in ids.items() for part in batches(listed, PAYLOAD_IDS)]
    await append(connection, TOPIC, payloads)


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

    async def write(
        self,
        connection: AsyncConnection,
        collection: str,
        document_id: str,
        version_id: str,
        chunk_ids: Sequence[str],
        extracts: Sequence[Any],
    ) -> None:
        rows = _Rows(group_id("d", collection), collection, datetime.now(UTC))
        for chunk, extract in zip(chunk_ids, extracts, strict=True):
            rows.add(version_id, chunk, extract)
        rows.leave_out(await refused_of(connection, rows.group))
        await insert_new(connection, groups, [{"id": rows.group, "kind": "d", "name": collection}])
        await insert_new(connection, entities, list(rows.entities.values()))
        await insert_new(connection, aliases, list(rows.aliases.values()))
        await insert_new(connection, facts, list(rows.facts.values()))
        await insert_new(connection, episodes, rows.episodes)
        await insert_new(connection, mentions, rows.mentions)
        await insert_new(connection, evidence, list(rows.evidence.values()))
        await insert_new(connection, homes, rows.homes)
        await tell_graph(connection, entities=rows.entities, facts=rows.facts)

    async def remove(self, connection: AsyncConnection, version_id: str) -> None:
        """Take the version's evidence away, each fact with its last evidence, each entity with its last mention."""
        of_version = await column(connection, select(episodes.c.id).where(episodes.c.version_id == version_id))
        await connection.execute(delete(homes).where(homes.c.version_id == version_id))
        await remove_episodes(connection, of_version)


async def remove_episodes(connection: AsyncConnection, episode_ids: Sequence[str]) -> int:
    """Take what these episodes prove away: each fact with its last evidence, each entity with its last mention.

    How many facts went.
    """
    from memory.facts.history import forget_sources  # which puts facts back by what is here

    touched: set[str] = set()
    spoken_of: set[str] = set()
    for part in batches(episode_ids):
        proven = select(evidence.c.fact_id).distinct().where(evidence.c.episode_id.in_(part))
        touched |= set(await column(connection, proven))
        named_in = select(mentions.c.entity_id).distinct().where(mentions.c.episode_id.in_(part))
        spoken_of |= set(await column(connection, named_in))
        for table, name in ((evidence, "episode_id"), (mentions, "episode_id"), (episodes, "id")):
            await connection.execute(delete(table).where(table.c[name].in_(part)))
    gone = await drop_unsupported(connection, sorted(touched), sorted(spoken_of))
    await forget_sources(connection, gone, episode_ids)
    return len(gone)


async def refused_of(connection: AsyncConnection, group: str) -> set[str]:
    """Ids of facts that are not to be learnt in this group."""
    return set(await column(connection, select(refused.c.fact_id).where(refused.c.group_id == group)))


async def drop_unsupported(
    connection: AsyncConnection, fact_ids: Sequence[str], entity_ids: Sequence[str]
) -> list[str]:
    """Of these, delete the facts without evidence (their ids are returned), then the entities without mention and
    fact; tell the graph."""
    gone = await _delete_where(connection, facts, fact_ids, ~exists(select(1).where(evidence.c.fact_id == facts.c.id)))
    unused = and_(
        ~exists(select(1).where(mentions.c.entity_id == entities.c.id)),
        ~exists(select(1).where(facts.c.source_id == entities.c.id)),
        ~exists(select(1).where(facts.c.target_id == entities.c.id)),
    )
    forgotten = await _delete_where(connection, entities, entity_ids, unused)
    for part in batches(forgotten):
        await connection.execute(delete(aliases).where(aliases.c.entity_id.in_(part)))
    await tell_graph(connection, gone_facts=gone, gone_entities=forgotten)
    return gone


async def _delete_where(connection: AsyncConnection, table: Table, ids: Sequence[str], condition: Any) -> list[str]:
    """Delete those of these rows that meet the condition; their ids."""
    gone: list[str] = []
    for part in batches(ids):
        found = await column(connection, select(table.c.id).where(table.c.id.in_(part), condition))
        await connection.execute(delete(table).where(table.c.id.in_(found)))
        gone += found
    return gone


async def column(connection: AsyncConnection, query: Any) -> list[str]:
    return [row[0] for row in await connection.execute(query)]


@dataclass(frozen=True, slots=True)
class _Time:
    """When facts are to hold: known at this epoch (and said by `known`), true at `as_of`, or now."""

    epoch: int
    as_of: datetime | None
    known: datetime | None

    def condition(self) -> Any:
        holds = true_at(self.as_of or self.known or datetime.now(UTC), self.known)
        if self.known is not None:
            return and_(holds, learnt_by(self.known))
        return holds if self.as_of is not None else and_(holds, facts.c.expired_at.is_(None))


async def _end_of(connection: AsyncConnection, epoch: int) -> datetime | None:
    """When the next epoch began; None while this one lasts."""
    query = select(publications.c.closed_at).where(publications.c.epoch == epoch + 1)
    return (await connection.execute(query)).scalar_one_or_none()


class FactStore:
    """`memory.facts.Facts`, over the relational tables."""

    def __init__(self, database: Database, epoch: Epoch, embedder: Embedder | None = None) -> None:
        self._database = database
        self._epoch = epoch
        self._embedder = embedder

    async def search(
        self,
        scope: Scope,
        query: str,
        *,
        limit: int = 10,
        epoch: int | None = None,
        as_of: datetime | None = None,
        known: datetime | None = None,
    ) -> list[ScoredFact]:
        """`known`: what people had said by then counts; without it the moment at which the epoch ended."""
        at = await self._at(epoch)
        async with self._database.read() as connection:
            if known is None and epoch is not None:
                known = await _end_of(connection, at)
            names = [*asked(query), *(SELF if speaks_of_self(query) else ())]
            about = await named(connection, groups_of(scope), names, at)
            found = await self._touching(connection, scope, about, _Time(at, as_of, known))
        scores = overlap(query, [f"{fact.text} {fact.relation.replace('_', ' ').lower()}" for fact in found])
        ranked = sorted(map(ScoredFact, found, scores), key=lambda scored: (-scored.score, scored.fact.id))
        if self._embedder is not None:
            ranked = await _nearest(self._embedder, query, ranked[:MAX_EMBEDDED])
        return ranked[:limit]

    async def entities_named(self, scope: Scope, names: Sequence[str]) -> list[Entity]:
        async with self._database.read() as connection:
            return await named(connection, groups_of(scope), [key(name) for name in names], await self._at(None))

    async def fact(self, scope: Scope, fact_id: str) -> Fact:
        found = await self.facts(scope, [fact_id])
        if not found:
            raise NotFound(f"There is no fact {fact_id}.", fact_id=fact_id)
        return found[0]

    async def facts(self, scope: Scope, ids: Sequence[str], *, epoch: int | None = None) -> list[Fact]:
        """Those of these facts that the scope sees, in the order asked for."""
        at = await self._at(epoch)
        async with self._database.read() as connection:
            found = {
                fact.id: fact
                for part in batches(dict.fromkeys(ids))
                for fact in await load_facts(connection, groups_of(scope), at, facts.c.id.in_(part))
            }
        return [found[identifier] for identifier in ids if identifier in found]

    async def page(self, scope: Scope, *, after: str = "", limit: int = 100) -> list[Fact]:
        at = await self._at(None)
        async with self._database.read() as connection:
            return await load_facts(connection, groups_of(scope), at, facts.c.id > after, limit=limit)

    async def totals(self, scope: Scope) -> tuple[int, int]:
        at = await self._at(None)
        async with self._database.read() as connection:
            counts = [
                int((await connection.execute(query)).scalar_one())
                for query in (
                    select(func.count()).where(entities.c.group_id.in_(groups_of(scope)), mentioned(at)),
                    select(func.count()).where(facts.c.group_id.in_(groups_of(scope)), stated(at)),
                )
            ]
        return counts[0], counts[1]

    async def _touching(
        self, connection: AsyncConnection, scope: Scope, about: Sequence[Entity], time: _Time
    ) -> list[Fact]:
        """Facts of these entities that hold; those that join two of them are taken before the rest."""
        if not about:
            return []
        ids = [entity.id for entity in about]
        ends = (facts.c.source_id.in_(ids), facts.c.target_id.in_(ids))
        found: dict[str, Fact] = {}
        for joined in (and_(*ends), or_(*ends)):
            wanted = and_(joined, time.condition())
            loaded = await load_facts(
                connection, groups_of(scope), time.epoch, wanted, limit=MAX_CANDIDATES, as_of=time.as_of
            )
            found |= {fact.id: fact for fact in loaded if fact.id not in found}
        return list(found.values())

    async def _at(self, epoch: int | None) -> int:
        newest = await self._epoch.epoch()
        return newest if epoch is None else min(epoch, newest)  # a later epoch than the newest may be half published


async def project_again(database: Database) -> AsyncIterator[int]:
    """Put every entity and fact into the outbox anew, for a graph that was emptied; yields how many so far."""
    done = 0
    for kind, table in (("entities", entities), ("facts", facts)):
        after = ""
        while True:
            query = select(table.c.id).where(table.c.id > after).order_by(table.c.id).limit(PAYLOAD_IDS * 10)
            async with database.write() as connection:
                ids = await column(connection, query)
                await tell_graph(connection, **{kind: ids})
            if not ids:
                break
            after = ids[-1]
            done += len(ids)
            yield done


async def load_facts(
    connection: AsyncConnection,
    group_ids: Sequence[str],
    epoch: int,
    condition: Any,
    *,
    limit: int | None = None,
    as_of: datetime | None = None,
) -> list[Fact]:
    """Visible facts that meet the condition, in order of id, with the evidence that is visible."""
    seen = stated(epoch, as_of)
    query = select(facts).where(facts.c.group_id.in_(group_ids), condition, seen).order_by(facts.c.id)
    rows = list((await connection.execute(query.limit(limit))).mappings())
    ends = await load_entities(connection, {row[end] for row in rows for end in ("source_id", "target_id")})
    proofs = await _evidence(connection, [row["id"] for row in rows], epoch)
    return [
        _fact(row, ends, proofs[row["id"]]) for row in rows if row["source_id"] in ends and row["target_id"] in ends
    ]


async def load_entities(connection: AsyncConnection, ids: Iterable[str]) -> dict[str, Entity]:
    found: dict[str, Entity] = {}
    for part in batches(sorted(ids)):
        query = select(entities.c.id, entities.c.name, entities.c.labels).where(entities.c.id.in_(part))
        found |= {row[0]: Entity(row[0], row[1], tuple(row[2])) for row in await connection.execute(query)}
    return found


async def _evidence(connection: AsyncConnection, ids: Sequence[str], epoch: int) -> dict[str, list[RowMapping]]:
    found: dict[str, list[RowMapping]] = {identifier: [] for identifier in ids}
    for part in batches(ids):
        query = (
            select(evidence, versions.c.document_id, versions.c.dated, episodes.c.name, episodes.c.valid_at)
            .select_from(
                evidence.outerjoin(versions, versions.c.id == evidence.c.version_id).outerjoin(
                    episodes, episodes.c.id == evidence.c.episode_id
                )
            )
            .where(evidence.c.fact_id.in_(part), shown(epoch))
            .order_by(evidence.c.fact_id, evidence.c.episode_id, evidence.c.start)
        )
        for row in (await connection.execute(query)).mappings():
            found[row["fact_id"]].append(row)
    return found


def _fact(row: RowMapping, ends: dict[str, Entity], proofs: Sequence[RowMapping]) -> Fact:
    return Fact(
        id=row["id"],
        text=row["text"],
        relation=row["relation"],
        source=ends[row["source_id"]],
        target=ends[row["target_id"]],
        valid_at=row["valid_at"],
        invalid_at=row["invalid_at"],
        evidence=tuple(_proof(proof, row["text"]) for proof in proofs),
        memory="documents" if row["collection"] else "conversations",
        learnt_at=row["created_at"],
        expired_at=row["expired_at"],
        confirmed="confirmed" in row["attributes"],
    )


def _proof(row: RowMapping, text: str) -> Evidence:
    said = row["version_id"] is None
    return Evidence(
        document_id=row["document_id"] or "",
        version_id=row["version_id"] or "",
        chunk_id="" if said else row["episode_id"],
        span=Span(row["start"], row["end"]),
        quote=text if row["quote"] is None else row["quote"],
        turn_id=row["episode_id"] if said else "",
        conversation_id=(row["name"] or "") if said else "",
        dated=row["valid_at"] if said else row["dated"],
    )


async def named(connection: AsyncConnection, group_ids: Sequence[str], keys: Sequence[str], epoch: int) -> list[Entity]:
    """Visible entities with one of these keys as name or alias; longer names first."""
    keys = [name for name in dict.fromkeys(keys) if name][:MAX_CANDIDATES]
    if not keys:
        return []
    by_alias = select(aliases.c.entity_id).where(aliases.c.group_id.in_(group_ids), aliases.c.key.in_(keys))
    either = or_(entities.c.key.in_(keys), entities.c.id.in_(by_alias))
    query = (
        select(entities.c.id, entities.c.name, entities.c.labels)
        .where(entities.c.group_id.in_(group_ids), either, mentioned(epoch))
        .order_by(func.length(entities.c.key).desc(), entities.c.id)
        .limit(MAX_NAMED)
    )
    return [Entity(row[0], row[1], tuple(row[2])) for row in await connection.execute(query)]


async def _nearest(embedder: Embedder, query: str, ranked: Sequence[ScoredFact]) -> list[ScoredFact]:
    """The same, with half the cosine to the question added to their scores."""
    if not ranked:
        return []
    vectors = await embedder.embed([query, *(scored.fact.text for scored in ranked)])
    near = (vectors[1:] @ vectors[0]).tolist()
    added = [ScoredFact(old.fact, old.score + 0.5 * cosine) for old, cosine in zip(ranked, near, strict=True)]
    return sorted(added, key=lambda scored: (-scored.score, scored.fact.id))


def overlap(query: str, texts: Sequence[str]) -> list[float]:
    """How much of the question each text holds, 0 to 1; a word that few of the texts have counts more."""
    held = [content_words(text) for text in texts]
    wanted = content_words(query)
    common = Counter(word for text in held for word in text & wanted)
    weight = {word: math.log(1 + (len(texts) + 1) / (common[word] + 0.5)) for word in wanted}
    total = sum(weight.values()) or 1.0
    return [sum(weight[word] for word in text & wanted) / total for text in held]


def content_words(text: str) -> set[str]:
    """Words that say something, cut to a stem of sorts: enough to match `founded` and `founder`."""
    return {key(word.text)[:6] for word in words(text) if word.text.casefold() not in STARTS_NO_NAME}
