"""What a data folder holds, read from its files while nobody owns it, in a form that two folders can be compared by."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from aegis.database import open_database
from aegis.services.facts import FOLDER as FACTS
from aegis.settings import EdgeSettings, SQLiteSettings
from memory.facts.points import FIELDS, FactPoints, fact_settings
from retrieval.embedding.wordllama import open_wordllama
from retrieval.keywords import KeywordEncoder
from retrieval.store import Summary, checksum
from retrieval.store.edge import open_edge

# Columns that say what is there; not when it came, nor at which epoch.
CONTENT = {
    "documents": "id, owner, collection, source, tags",
    "versions": "id, document_id, content_hash, chunk_count, title, media_type, chars, pages, headings, verdict",
    "texts": "version_id, start, text",
    "chunks": 'id, version_id, ordinal, start, "end", text, page, heading, embedded_hash',
    "embeddings": "text_hash, embedder, hex(vector)",
    "groups": "id, kind, name",
    "entities": "id, group_id, collection, name, key, labels, summary, attributes",
    "aliases": "entity_id, key, group_id, collection",
    "facts": "id, group_id, collection, source_id, target_id, relation, text, attributes, valid_at, invalid_at",
    "episodes": "id, group_id, collection, version_id, name, source, description, content",
    "mentions": "episode_id, entity_id, group_id, collection",
    "evidence": 'fact_id, episode_id, start, "end", group_id, collection, version_id, quote',
    "homes": "collection, key, chunk_id, version_id",
}
NEVER = 2**53


@dataclass(frozen=True)
class Contents:
    """`rows`: a digest of each row, counted, by table. `visible`: version ids seen at the newest epoch."""

    rows: dict[str, Counter[str]]
    visible: frozenset[str]
    blobs: frozenset[str]

    def counts(self) -> dict[str, int]:
        return {table: sum(rows.values()) for table, rows in self.rows.items()}


def contents(folder: Path) -> Contents:
    with closing(sqlite3.connect(f"file:{folder}/aegis.sqlite?mode=ro", uri=True)) as connection:
        rows = {table: _rows(connection, table, columns) for table, columns in CONTENT.items()}
        epoch = (connection.execute("select value from epochs").fetchone() or (0,))[0]
        query = "select id from versions where visible_from <= ? and visible_until > ?"
        visible = frozenset(row[0] for row in connection.execute(query, (epoch, epoch)))
    connection.close()
    return Contents(rows, visible, frozenset(path.name for path in (folder / "blobs").glob("*/*")))


def _rows(connection: sqlite3.Connection, table: str, columns: str) -> Counter[str]:
    return Counter(
        hashlib.sha256(repr(row).encode("utf-8", "surrogatepass")).hexdigest()
        for row in connection.execute(f'select {columns} from "{table}"')
    )


def faults(folder: Path) -> list[str]:
    """What is wrong within the stores themselves; empty when they fit together."""
    found: list[str] = []
    with closing(sqlite3.connect(f"file:{folder}/aegis.sqlite?mode=ro", uri=True)) as connection:
        for check in ("integrity_check", "foreign_key_check"):
            found += [f"{check}: {row}" for row in connection.execute(f"PRAGMA {check}") if row[0] != "ok"]
        for what, query in ORPHANS.items():
            count = connection.execute(query).fetchone()[0]
            if count:
                found.append(f"{count} {what}")
        points = connection.execute(
            "select chunks.id, visible_from, visible_until from chunks join versions on versions.id = version_id"
        ).fetchall()
    connection.close()
    wanted = Summary(len(points), sum(checksum(*point) for point in points) % 2**64)
    seen = asyncio.run(_summary(folder))
    if seen != wanted:
        found.append(f"the vector store holds {seen}, the relational store {wanted}")
    return [*found, *faults_of_facts(folder)]


def faults_of_facts(folder: Path) -> list[str]:
    """Whether the index of facts and entities holds what the tables say, at the same epochs."""
    seen, wanted = asyncio.run(_facts(folder))
    return [] if seen == wanted else [f"the index of facts holds {seen}, the relational store {wanted}"]


async def _facts(folder: Path) -> tuple[Summary, Summary]:
    embedder, encoder = open_wordllama(), KeywordEncoder()
    place = folder / FACTS / f"{embedder.name}+{encoder.name}"
    async with (
        open_database(SQLiteSettings(), folder) as database,
        open_edge(fact_settings(EdgeSettings()), place, embedder.dimensions, fields=FIELDS) as store,
    ):
        assert store.was_reset is None, store.was_reset
        wanted, _ = await FactPoints(database, store, embedder, encoder).expected()
        return await store.summary(), wanted


async def _summary(folder: Path) -> Summary:
    async with open_edge(EdgeSettings(), folder / "vectors" / "wordllama-256", 256) as store:
        assert store.was_reset is None, store.was_reset
        return await store.summary()


ORPHANS = {
    "evidence rows of no fact": "select count(*) from evidence where fact_id not in (select id from facts)",
    "evidence rows of no version": "select count(*) from evidence where version_id not in (select id from versions)",
    "facts without evidence": "select count(*) from facts where id not in (select fact_id from evidence)",
    "facts between no entities": "select count(*) from facts where source_id not in (select id from entities)"
    " or target_id not in (select id from entities)",
    "episodes of no chunk": "select count(*) from episodes where version_id is not null"
    " and id not in (select id from chunks)",
    "mentions by no episode": "select count(*) from mentions where episode_id not in (select id from episodes)",
    "mentions of no entity": "select count(*) from mentions where entity_id not in (select id from entities)",
    "homes in no chunk": "select count(*) from homes where chunk_id not in (select id from chunks)",
    "versions with another number of chunks": "select count(*) from versions where chunk_count !="
    " (select count(*) from chunks where version_id = versions.id)",
    "documents with several visible versions": "select count(*) from (select document_id from versions"
    f" where visible_from < {NEVER} and visible_until = {NEVER} group by document_id having count(*) > 1)",
    "versions never published": f"select count(*) from versions where visible_from = {NEVER}",
    "publications not finished": "select count(*) from publications where closed_at is null",
    "files of jobs not finished": "select count(*) from job_files where state not in"
    " ('done', 'unchanged', 'failed', 'cancelled')",
}
