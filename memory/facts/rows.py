"""Rows of the graph memory, many at a time: in batches, without waiting in a circle, and told to its projections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database.outbox import append

TOPIC = "graph"  # outbox rows: {"entities": [...], "facts": [...]} to load anew, {"gone_...": [...]} to delete
BATCH = 500  # ids named in one statement
PAYLOAD_IDS = 200  # ids in one outbox row


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


async def column(connection: AsyncConnection, query: Any) -> list[str]:
    return [row[0] for row in await connection.execute(query)]


async def tell_graph(connection: AsyncConnection, **ids: Iterable[str]) -> None:
    """Outbox rows for the graph projection: which entities and facts are new, changed, seen otherwise, or gone."""
    payloads = [{kind: part} for kind, listed in ids.items() for part in batches(listed, PAYLOAD_IDS)]
    await append(connection, TOPIC, payloads)
