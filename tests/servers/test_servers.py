"""The servers that tests start are real, answer, and are gone afterwards."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from aegis.database import Database
from aegis.database.outbox import Outbox, append


async def test_store_on_each_engine(any_database: Database) -> None:
    async with any_database.write() as connection:
        await append(connection, "test", [{"n": 1}, {"n": 2}])
    rows = await Outbox(any_database).pending(["test"], 0, 10)
    assert [row.payload["n"] for row in rows] == [1, 2]


@pytest.mark.servers
async def test_postgres_is_real(postgres_database: Database) -> None:
    async with postgres_database.read() as connection:
        version = (await connection.execute(text("SELECT version()"))).scalar_one()
    assert version.startswith("PostgreSQL")


@pytest.mark.servers
async def test_neo4j_is_real(neo4j_url: str) -> None:
    from neo4j import AsyncGraphDatabase

    async with AsyncGraphDatabase.driver(neo4j_url) as driver:
        records, _, _ = await driver.execute_query("RETURN 1 + 1 AS two")
    assert records[0]["two"] == 2
