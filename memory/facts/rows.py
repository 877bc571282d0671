"""Rows of the graph memory, many at a time: in batches, without waiting in a circle, and told to its projections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database.outbox import append, put
from aegis.database.schema import insert_missing

TOPIC = "graph"  # outbox rows: {"entities": [...], "facts": [...]} to load anew, {"gone_...": [...]} to delete
BATCH = 500  # ids named in one statement
PAYLOAD_IDS = 200  # ids in one outbox row


def batches(ids: Iterable[str], size: int = BATCH) -> Iterable[list[str]]:
    listed = list(ids)
    return (listed[start : start + size] for start in range(0, len(listed), size))


async def insert_new(connection: AsyncConnection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert the rows that are not there yet. In order of their keys, so that two writers never wait in a circle."""
    if rows:
        await connection.execute(insert_missing(table, connection.dialect.name), _ordered(table, rows))


def put_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """The same in a unit of `Database.transact`."""
    if rows:
        connection.execute(insert_missing(table, connection.dialect.name), _ordered(table, rows))


def _ordered(table: Table, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    keys = [column.name for column in table.primary_key.columns]
    return sorted(rows, key=lambda row: tuple(row[name] for name in keys))


async def column(connection: AsyncConnection, query: Any) -> list[str]:
    return [row[0] for row in await connection.execute(query)]


async def tell_graph(connection: AsyncConnection, **ids: Iterable[str]) -> None:
    """Outbox rows for the graph projection: which entities and facts are new, changed, seen otherwise, or gone."""
    await append(connection, TOPIC, _payloads(ids))


def put_graph(connection: Connection, **ids: Iterable[str]) -> None:
    """The same in a unit of `Database.transact`."""
    put(connection, TOPIC, _payloads(ids))


def _payloads(ids: Mapping[str, Iterable[str]]) -> list[dict[str, list[str]]]:
    return [{kind: part} for kind, listed in ids.items() for part in batches(listed, PAYLOAD_IDS)]
