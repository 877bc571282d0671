"""The migrations make exactly the tables that the code declares, on both engines."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import SecretStr
from sqlalchemy import Connection

from aegis.database import Database, metadata, open_database
from aegis.database.migrations import upgrade
from aegis.settings import PostgresSettings
from tests.initial_migration import TABLES
from tests.servers.fixtures import fresh_postgres_database


def _differences(connection: Connection) -> list[Any]:
    for module in TABLES:
        importlib.import_module(module)
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))


async def test_schema_is_what_the_code_declares(any_database: Database) -> None:
    async with any_database.write() as connection:
        assert await connection.run_sync(_differences) == []


def test_every_table_is_in_a_listed_module() -> None:
    """Else the first migration would be written without it."""
    for module in TABLES:
        importlib.import_module(module)
    for table in metadata.tables.values():
        assert table.columns, table.name
    root = Path(__file__).parents[2]
    declaring = {
        ".".join(file.relative_to(root).with_suffix("").parts)
        for folder in ("aegis", "retrieval", "memory", "inference", "agents", "graphs", "api")
        for file in (root / folder).rglob("*.py")
        if "= Table(\n" in file.read_text(encoding="utf-8")
    }
    assert declaring <= set(TABLES)


@pytest.mark.servers
async def test_replicas_that_start_together_migrate_once(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_postgres_database(postgres_url) as address:
        settings = PostgresSettings(kind="postgres", url=SecretStr(address))

        async def start() -> None:
            async with open_database(settings, tmp_path) as opened:
                await upgrade(opened)

        await asyncio.gather(*(start() for _ in range(4)))
