"""The graph memory asked: milliseconds as facts grow, and whether `as_of` tells what a scan of all facts tells.

Facts go in as Graphiti's bulk save puts them in, and are asked for as the chat asks. Entities are named by few facts
or by many, as in life. Beside it, in the same run: Graphiti's own search, answered by our index, and as it is on a
Neo4j that holds the same facts (`graphiti_neo4j.py`), where one can be had. The events are temporal_icews14's, each
true on its day.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from aegis.database import Database, open_database
from aegis.database.migrations import upgrade
from aegis.database.outbox import Outbox
from aegis.errors import InvalidInput, NotFound
from aegis.scope import Scope, derived_id, group_id
from aegis.settings import EdgeSettings, SQLiteSettings
from evals.bench.datasets import dataset_folder, lines
from evals.bench.graphiti_neo4j import ASKING, FILLING, no_model, searched
from evals.bench.real import some
from memory.facts.index import FactIndex
from memory.facts.points import FIELDS, FactPoints, fact_settings
from memory.facts.store import FactStore
from retrieval.catalogue import Catalogue
from retrieval.embedding.wordllama import open_wordllama
from retrieval.keywords import KeywordEncoder
from retrieval.projection import VectorProjection
from retrieval.store.edge import open_edge

SIZES = "10000,100000"
QUERIES = 200
BATCH = 500
COLLECTION = "bench"
SCOPE = Scope("bench", frozenset({COLLECTION}))
EVENTS = "temporal_icews14"
ALL = 400  # more than there are facts on any day of the events
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_SYLLABLES = (
    "ba",
    "de",
    "ki",
    "lo",
    "mu",
    "na",
    "per",
    "ri",
    "sol",
    "ta",
    "ven",
    "wil",
    "xan",
    "yor",
    "zu",
    "gra",
    "ster",
    "quin",
    "hal",
    "fen",
)
_RELATIONS = ("leads", "owns", "depends on", "was founded by", "works for", "supplies", "visited", "replaced")


@dataclass(frozen=True, slots=True)
class Stated:
    source: str
    relation: str
    target: str
    at: datetime = _NOW
    until: datetime | None = None

    @property
    def text(self) -> str:
        return f"{self.source} {self.relation} {self.target}."

    @property
    def id(self) -> str:
        return derived_id("bench", self.text, str(self.at))


def bench(*, quiet: bool = False, facts: str = SIZES, dataset: str = EVENTS) -> dict[str, Any]:
    """`facts`: how many, separated by commas. Raises InvalidInput."""
    try:
        sizes = [int(size) for size in facts.split(",")]
    except ValueError as error:
        raise InvalidInput(f"--facts is {facts!r}; write numbers such as 10000,100000.") from error
    found: dict[str, Any] = {"search": {}}
    for size in sizes:
        _say(quiet, f"{size:,} facts: written, indexed and asked for ...")
        row = found["search"][str(size)] = asyncio.run(_searched(size))
        _say(
            quiet, f"{size:,} facts: the same questions to Graphiti on Neo4j, for {FILLING + ASKING:.0f} s at most ..."
        )
        row["graphiti_on_neo4j"] = _on_neo4j(size)
    _say(quiet, "as_of: every event asked for on its day ...")
    try:
        found["as_of"] = asyncio.run(_as_of(list(_events(dataset))))
    except NotFound as missing:
        found["as_of"] = {"skipped": missing.message}
    if not quiet:
        _show(found)
    return found


def _say(quiet: bool, words: str) -> None:
    if not quiet:
        print(words, file=sys.stderr)  # noqa: T201  # what a command is at


def _on_neo4j(size: int) -> dict[str, Any]:
    made = list(_made(size))
    try:
        with some("neo4j") as url:
            return asyncio.run(searched(url, made, _questions(made), open_wordllama()))
    except NotFound as missing:
        return {"skipped": missing.message}


def _questions(made: Sequence[Stated]) -> list[tuple[str, str | None]]:
    """The same every time; with the fact that is asked for, where two names make it one."""
    random = Random(1)  # noqa: S311 -- the same questions every time
    asked = [made[random.randrange(len(made))] for _ in range(QUERIES)]
    return [(_question(one, number), one.id if number % 2 else None) for number, one in enumerate(asked)]


async def _searched(size: int) -> dict[str, Any]:
    made = list(_made(size))
    async with _indexed() as (database, box, index, filling):
        facts = FactStore(database, Catalogue(database), index.embedder, index)
        began = time.perf_counter()
        await _put(database, made)
        box.wake()
        await filling.caught_up()
        wrote = time.perf_counter() - began
        if not await filling.verify():
            raise InvalidInput("The index does not hold what was written.")
        taken: list[float] = []
        first = 0
        for query, wanted in _questions(made):
            began = time.perf_counter()
            hits = await facts.search(SCOPE, query, limit=10)
            taken.append((time.perf_counter() - began) * 1000)
            first += any(hit.fact.id == wanted for hit in hits)
        theirs = await _by_graphiti(database, index, made)
    p50, p95 = np.percentile(taken, (50, 95))
    return {
        "ms_p50": round(float(p50), 2),
        "ms_p95": round(float(p95), 2),
        "found": round(first / (QUERIES // 2), 3),
        "facts_per_second_written": round(size / wrote),
        "graphiti_on_our_driver": theirs,
    }


async def _by_graphiti(database: Database, index: FactIndex, made: Sequence[Stated]) -> dict[str, float]:
    """Graphiti's own `search` (words, vectors, reciprocal ranks), its searches answered by the index."""
    from memory.facts.driver import open_graphiti

    taken, first = list[float](), 0
    async with open_graphiti(database, Catalogue(database), no_model(), index.embedder, index=index) as graphiti:
        for query, wanted in _questions(made):
            began = time.perf_counter()
            found = await graphiti.search(query, group_ids=[group_id("d", COLLECTION)], num_results=10)
            taken.append((time.perf_counter() - began) * 1000)
            first += any(edge.uuid == wanted for edge in found)
    p50, p95 = np.percentile(taken, (50, 95))
    return {"ms_p50": round(float(p50), 2), "ms_p95": round(float(p95), 2), "found": round(first / (QUERIES // 2), 3)}


def _question(wanted: Stated, number: int) -> str:
    """Of two names, every other time of one."""
    return f"How are {wanted.source} and {wanted.target} connected?" if number % 2 else f"What of {wanted.source}?"


async def _as_of(events: Sequence[Stated]) -> dict[str, Any]:
    """For each event, asked on its day about its two names: the same facts as a scan of all events finds?"""
    by_day: dict[datetime, list[Stated]] = defaultdict(list)
    for event in events:
        by_day[event.at].append(event)
    async with _indexed() as (database, box, index, filling):
        await _put(database, events)
        box.wake()
        await filling.caught_up()
        if not await filling.verify():
            raise InvalidInput("The index does not hold what was written.")
        facts = FactStore(database, Catalogue(database), index.embedder, index)
        differ: list[str] = []
        for event in events:
            wanted = {each.id for each in by_day[event.at] if {each.source, each.target} & {event.source, event.target}}
            query = f"{event.source} / {event.target}"
            hits = await facts.search(SCOPE, query, limit=ALL, as_of=event.at + timedelta(hours=12))
            named = {
                hit.fact.id
                for hit in hits
                if {hit.fact.source.name, hit.fact.target.name} & {event.source, event.target}
            }
            dated = {hit.fact.id for hit in hits if hit.fact.valid_at != event.at}
            if named != wanted or dated:
                differ.append(event.id)
    return {"events": len(events), "days": len(by_day), "differ": len(differ)}


def _made(size: int) -> Iterator[Stated]:
    """Different facts about size / 5 entities."""
    random = Random(0)  # noqa: S311 -- the same facts every time
    names = list(dict.fromkeys(_name(random) for _ in range(size // 5 + 2)))
    seen: set[str] = set()
    while len(seen) < size:
        source = names[int(len(names) * random.random() ** 3)]
        fact = Stated(source, random.choice(_RELATIONS), random.choice(names))
        if fact.source != fact.target and fact.id not in seen:
            seen.add(fact.id)
            yield fact


def _name(random: Random) -> str:
    return " ".join("".join(random.choices(_SYLLABLES, k=3)).capitalize() for _ in range(2))


def _events(dataset: str) -> Iterator[Stated]:
    """Each once. Raises NotFound."""
    seen: set[str] = set()
    for row in lines(dataset_folder(dataset) / "facts.jsonl"):
        day = datetime.fromisoformat(row["at"]).replace(tzinfo=UTC)
        event = Stated(row["s"], row["p"], row["o"], day, day + timedelta(days=1))
        if event.id not in seen:
            seen.add(event.id)
            yield event


@asynccontextmanager
async def _store() -> AsyncGenerator[Database]:
    with tempfile.TemporaryDirectory() as folder:
        async with open_database(SQLiteSettings(), Path(folder)) as database:
            await upgrade(database)
            yield database


@asynccontextmanager
async def _indexed() -> AsyncGenerator[tuple[Database, Outbox, FactIndex, VectorProjection]]:
    """An empty store, and the index that follows it, as in the product."""
    embedder, keywords = open_wordllama(), KeywordEncoder()
    async with _store() as database:
        with tempfile.TemporaryDirectory() as folder:
            settings, box = fact_settings(EdgeSettings()), Outbox(database)
            async with open_edge(settings, Path(folder) / "facts", embedder.dimensions, fields=FIELDS) as store:
                filling = VectorProjection(
                    box, FactPoints(database, store, embedder, keywords), None, lambda: datetime.now(UTC)
                )
                async with filling.running():
                    yield database, box, FactIndex(store, embedder, keywords, lambda: filling.complete), filling


async def _put(database: Database, stated: Sequence[Stated]) -> None:
    import memory.facts.driver as graphiti
    from memory.facts.objects import save_edges, save_episodes, save_mentions, save_nodes

    group = await graphiti.ensure_group(database, "d", COLLECTION)
    names = {name: derived_id("bench", "entity", name) for each in stated for name in (each.source, each.target)}
    common = {"group_id": group, "created_at": _NOW}
    async with database.write() as connection:
        await save_nodes(
            connection, [{**common, "uuid": uuid, "name": name, "labels": ["Entity"]} for name, uuid in names.items()]
        )
    for start in range(0, len(stated), BATCH):
        part = stated[start : start + BATCH]
        async with database.write() as connection:
            await save_episodes(connection, [_episode(each, common) for each in part])
            await save_mentions(connection, [edge for each in part for edge in _mentions(each, names, common)])
            await save_edges(connection, [_edge(each, names, common) for each in part])


def _episode(stated: Stated, common: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **common,
        "uuid": derived_id("bench", "episode", stated.id),
        "name": "",
        "source": "text",
        "content": stated.text,
    }


def _mentions(stated: Stated, names: Mapping[str, str], common: Mapping[str, Any]) -> list[dict[str, Any]]:
    episode = derived_id("bench", "episode", stated.id)
    ends = dict.fromkeys((names[stated.source], names[stated.target]))
    return [{**common, "source_node_uuid": episode, "target_node_uuid": end} for end in ends]


def _edge(stated: Stated, names: Mapping[str, str], common: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **common,
        "uuid": stated.id,
        "source_node_uuid": names[stated.source],
        "target_node_uuid": names[stated.target],
        "name": stated.relation.upper().replace(" ", "_"),
        "fact": stated.text,
        "episodes": [derived_id("bench", "episode", stated.id)],
        "valid_at": stated.at,
        "invalid_at": stated.until,
    }


def _show(found: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    columns = ("p50 ms", "p95 ms", "asked fact in the first ten", "written per second")
    table = Table("facts", "search", *columns, title="memory search")
    for size, row in found["search"].items():
        theirs, neo4j = row["graphiti_on_our_driver"], row["graphiti_on_neo4j"]
        for facts, name, figures in (
            (size, "ours", row),
            (size, "Graphiti's, by our index", theirs),
            (neo4j.get("facts", size), "Graphiti's, on Neo4j", neo4j),
        ):
            speed = figures.get("facts_per_second_written")
            told = (*(figures.get(key, "") for key in ("ms_p50", "ms_p95", "found")), f"{speed:,}" if speed else "")
            table.add_row(f"{int(facts):,}", name, *map(str, told))
    Console(width=120).print(table)
    for size, row in found["search"].items():
        if why := row["graphiti_on_neo4j"].get("skipped"):
            print(f"Graphiti on Neo4j was not measured at {int(size):,} facts. {why}")  # noqa: T201  # a command's own output
    dated = found["as_of"]
    told = (
        dated.get("skipped")
        or f"{dated['events']:,} events on {dated['days']} days, {dated['differ']} answers differ from a scan"
    )
    print(f"as_of: {told}")  # noqa: T201  # a command's own output
