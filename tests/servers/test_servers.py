"""The servers that tests start are real, answer, and are gone afterwards."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from aegis.database import Database
from aegis.database.outbox import Outbox, append
from tests.servers import ServerMissing
from tests.servers.neo4j import running_neo4j
from tests.servers.ollama_real import running_ollama
from tests.servers.postgres import running_postgres
from tests.servers.redis import running_redis


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


@pytest.mark.servers
async def test_redis_is_real(redis_url: str) -> None:
    from redis.asyncio import Redis

    async with Redis.from_url(redis_url) as client:  # pyright: ignore[reportUnknownMemberType]  # partial types
        assert await client.ping()


class _Failure(Exception):
    pass


@pytest.mark.servers
@pytest.mark.parametrize("starter", [running_postgres, running_redis, running_neo4j, running_ollama])
def test_a_server_stops_after_a_failure(starter: Callable[[], AbstractContextManager[str]]) -> None:
    url = ""
    try:
        with starter() as url:
            assert _listens(url)
            raise _Failure
    except ServerMissing as missing:
        pytest.skip(str(missing))
    except _Failure:
        pass
    assert not _listens(url)


def _listens(url: str) -> bool:
    address = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((str(address.hostname), int(address.port or 0))) == 0
