"""Facts and entities as points: the projection of the graph memory that searches go through.

A point has the id of its fact or entity and is made from the tables as they are when a row arrives, so that rows may
come twice or late. Its epochs reach from the first to the last at which anything proves it; its times are numbers,
with FOREVER for those that are open. Conditions on these never leave out what the tables would let through; whether
all of it holds is asked of the tables when a found fact is read.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Literal

from sqlalchemy import BigInteger, RowMapping, Select, bindparam, case, func, literal, select

from aegis.database import Database
from aegis.database.outbox import OutboxRow, outbox
from aegis.settings import EdgeSettings
from memory.facts.rows import TOPIC, batches
from memory.facts.tables import aliases, entities, episodes, evidence, facts, mentions
from memory.facts.visibility import Time
from retrieval.embedding import Embedder
from retrieval.ingestion.versions import VISIBILITY_TOPIC
from retrieval.keywords import KeywordEncoder
from retrieval.projection import POINTS, Resettable
from retrieval.store import Fields, Point, Summary, Visibility, Within, checksum
from retrieval.tables import NEVER, versions

FOREVER = float(2**53)
FIELDS: Fields = {
    "ends": "keyword",  # entities that a fact joins
    "valid_from": "number",
    "valid_until": "number",
    "since": "number",  # the date of what proves a fact that has no date of its own
    "expired": "number",
    "learnt": "number",  # of what people said
}
SUMMED = 2000  # points whose checksums are added at a time

Kind = Literal["facts", "entities"]


def seconds(moment: datetime | None, default: float) -> float:
    return default if moment is None else moment.timestamp()


def fact_settings(given: EdgeSettings) -> EdgeSettings:
    """Facts are looked for among those of some entities, exactly: an index over all vectors may wait for more."""
    return given.model_copy(update={"unindexed_limit": given.unindexed_limit * 4})


def holding(time: Time) -> tuple[tuple[Within, ...], ...]:
    """Conditions on the points of facts that hold then: `Time.condition`, and of `stated` what concerns dates."""
    moment = time.moment.timestamp()
    unended: tuple[Within, ...] = (Within("valid_until", above=moment),)
    further: list[tuple[Within, ...]] = []
    if time.known is not None:
        known = time.known.timestamp()
        unended = (*unended, Within("expired", above=known, upto=FOREVER - 1))
        further.append((Within("learnt", upto=known),))
    elif time.as_of is None:
        further.append((Within("expired", above=FOREVER - 1),))
    if time.as_of is not None:
        further.append((Within("since", upto=moment),))
    return ((Within("valid_from", upto=moment),), unended, *further)


class FactPoints:
    """`retrieval.projection.Points`."""

    topics: Sequence[str] = (TOPIC, VISIBILITY_TOPIC)

    def __init__(self, database: Database, store: Resettable, embedder: Embedder, encoder: KeywordEncoder) -> None:
        self.name = f"facts:{embedder.name}"
        self.store = store
        self._database = database
        self._embedder = embedder
        self._encoder = encoder

    async def apply(self, rows: Sequence[OutboxRow]) -> None:
        for topic, group in groupby(rows, key=lambda row: row.topic):
            payloads = [row.payload for row in group]
            if topic == VISIBILITY_TOPIC:
                await self._show([payload["version"] for payload in payloads])
            else:
                for kind in ("entities", "facts"):
                    await self._renew(kind, _named(payloads, kind))

    async def write_page(self, after: str) -> str | None:
        """`after`: the kind and the last id of it, facts before entities."""
        kind, _, last = (after or "facts/").partition("/")
        if kind == "facts":
            rows = await self._write("facts", _facts().where(facts.c.id > last).order_by(facts.c.id).limit(POINTS))
            return f"facts/{rows[-1]['id']}" if len(rows) == POINTS else "entities/"
        query = _entities().where(entities.c.id > last).order_by(entities.c.id).limit(POINTS)
        rows = await self._write("entities", query)
        return f"entities/{rows[-1]['id']}" if len(rows) == POINTS else None

    async def count(self) -> int:
        counts = [select(func.count()).select_from(table) for table in (facts, entities)]
        async with self._database.read() as connection:
            return sum([int((await connection.execute(count)).scalar_one()) for count in counts])

    async def expected(self) -> tuple[Summary, int]:
        last = select(func.coalesce(func.max(outbox.c.seq), 0)).where(outbox.c.topic.in_(self.topics))
        count = total = 0
        async with self._database.read() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execution_options(isolation_level="REPEATABLE READ")
            seq = int((await connection.execute(last)).scalar_one())
            for query, column in ((_facts(epochs_only=True), facts.c.id), (_entities(epochs_only=True), entities.c.id)):
                after, page = "", query.order_by(column).limit(SUMMED)
                while rows := (await connection.execute(page.where(column > after))).all():
                    total += await asyncio.to_thread(_added, rows)
                    count, after = count + len(rows), rows[-1].id
        return Summary(count, total % 2**64), seq

    async def _renew(self, kind: Kind, ids: Iterable[str]) -> None:
        """Write those of these that are in the tables, delete the rest."""
        query = _FACTS if kind == "facts" else _ENTITIES
        for part in batches(sorted(ids), POINTS):
            there = {row["id"] for row in await self._write(kind, query, {"ids": part})}
            if gone := [identifier for identifier in part if identifier not in there]:
                await self.store.delete(gone)

    async def _write(
        self, kind: Kind, query: Select[Any], given: Mapping[str, Any] | None = None
    ) -> Sequence[RowMapping]:
        async with self._database.read() as connection:
            rows = (await connection.execute(query, given)).mappings().all()
            others = await _aliases(connection, rows) if kind == "entities" else {}
        if not rows:
            return rows
        texts = [row["text"] if kind == "facts" else row["name"] for row in rows]
        vectors = await self._embedder.embed(texts)
        words = [f"{row['text']} {spoken(row['relation'])}" for row in rows] if kind == "facts" else texts
        words = [" ; ".join((text, *others.get(row["id"], ()))) for text, row in zip(words, rows, strict=True)]
        sparse = await asyncio.to_thread(self._encoder.documents, words)
        made = _fact if kind == "facts" else _entity
        await self.store.upsert([made(*parts) for parts in zip(rows, vectors, sparse, strict=True)])
        return rows

    async def _show(self, changed: Sequence[str]) -> None:
        proven = select(evidence.c.fact_id).where(evidence.c.version_id.in_(changed))
        inside = select(episodes.c.id).where(episodes.c.version_id.in_(changed))
        spoken_of = select(mentions.c.entity_id).where(mentions.c.episode_id.in_(inside))
        for query, column, wanted in (
            (_facts(epochs_only=True), facts.c.id, proven),
            (_entities(epochs_only=True), entities.c.id, spoken_of),
        ):
            after, page = "", query.where(column.in_(wanted)).order_by(column).limit(POINTS)
            while True:
                async with self._database.read() as connection:
                    rows = (await connection.execute(page.where(column > after))).all()
                await self.store.show(_changes(rows))
                if len(rows) < POINTS:
                    break
                after = rows[-1].id


def spoken(relation: str) -> str:
    return relation.replace("_", " ").lower()


def _named(payloads: Sequence[dict[str, list[str]]], kind: Kind) -> set[str]:
    return {each for payload in payloads for name in (kind, f"gone_{kind}") for each in payload.get(name, ())}


def _epochs(present: Any, version: Any) -> tuple[Any, Any]:
    """The first and the last epoch of what proves something. What is not published yet, or absent, shows nothing;
    what belongs to no version always does."""
    never, none = literal(NEVER, BigInteger), literal(0, BigInteger)
    first = case(
        (present.is_(None), never), (version.is_(None), none), else_=func.coalesce(versions.c.visible_from, never)
    )
    last = case(
        (present.is_(None), none),
        (version.is_(None), never),
        (versions.c.visible_from >= never, none),
        else_=func.coalesce(versions.c.visible_until, none),
    )
    return func.min(first).label("visible_from"), func.max(last).label("visible_until")


def _facts(*, epochs_only: bool = False) -> Any:
    epochs = _epochs(evidence.c.fact_id, evidence.c.version_id)
    proofs = facts.outerjoin(evidence, evidence.c.fact_id == facts.c.id).outerjoin(
        versions, versions.c.id == evidence.c.version_id
    )
    if epochs_only:
        return select(facts.c.id, *epochs).select_from(proofs).group_by(facts.c.id)
    undated = func.max(case((versions.c.dated.is_(None), 1), else_=0)).label("undated")
    dated = func.min(versions.c.dated).label("dated")
    return select(facts, *epochs, undated, dated).select_from(proofs).group_by(facts.c.id)


def _entities(*, epochs_only: bool = False) -> Any:
    epochs = _epochs(episodes.c.id, episodes.c.version_id)
    seen = (
        entities.outerjoin(mentions, mentions.c.entity_id == entities.c.id)
        .outerjoin(episodes, episodes.c.id == mentions.c.episode_id)
        .outerjoin(versions, versions.c.id == episodes.c.version_id)
    )
    shown = (entities.c.id,) if epochs_only else (entities.c.id, entities.c.group_id, entities.c.name)
    return select(*shown, *epochs).select_from(seen).group_by(entities.c.id)


# Made once: to build such a statement costs more than to run it.
_FACTS = _facts().where(facts.c.id.in_(bindparam("ids", expanding=True)))
_ENTITIES = _entities().where(entities.c.id.in_(bindparam("ids", expanding=True)))
_ALIASES = select(aliases.c.entity_id, aliases.c.key).where(aliases.c.entity_id.in_(bindparam("ids", expanding=True)))


async def _aliases(connection: Any, rows: Sequence[RowMapping]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for entity, alias in await connection.execute(_ALIASES, {"ids": [row["id"] for row in rows]}):
        found[entity].append(alias)
    return found


def _fact(row: RowMapping, dense: Any, sparse: Any) -> Point:
    stated = row["valid_at"] is not None or row["undated"]
    numbers = {
        "valid_from": seconds(row["valid_at"], -FOREVER),
        "valid_until": seconds(row["invalid_at"], FOREVER),
        "since": -FOREVER if stated else seconds(row["dated"], -FOREVER),
        "expired": seconds(row["expired_at"], FOREVER),
        "learnt": -FOREVER if row["collection"] else seconds(row["created_at"], -FOREVER),
    }
    ends = {"ends": (row["source_id"], row["target_id"])}
    return _point(row, "fact", dense, sparse, ends, numbers)


def _entity(row: RowMapping, dense: Any, sparse: Any) -> Point:
    return _point(row, "entity", dense, sparse, {}, {})


def _point(
    row: RowMapping,
    kind: str,
    dense: Any,
    sparse: Any,
    names: dict[str, tuple[str, ...]],
    numbers: dict[str, float],
) -> Point:
    return Point(
        id=row["id"],
        dense=dense,
        sparse=sparse,
        collection=row["group_id"],
        document="",
        type=kind,
        visible_from=row["visible_from"],
        visible_until=row["visible_until"],
        names=names,
        numbers=numbers,
    )


def _changes(rows: Sequence[Any]) -> list[Visibility]:
    together: dict[tuple[int, int], list[str]] = defaultdict(list)
    for identifier, first, last in rows:
        together[first, last].append(identifier)
    return [Visibility(tuple(ids), *epochs) for epochs, ids in together.items()]


def _added(rows: Sequence[Any]) -> int:
    return sum(checksum(*row) for row in rows)
