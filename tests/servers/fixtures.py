"""Fixtures that hand out real servers, one of each kind per test session, and the stores on them."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from aegis.database import Database, open_database
from aegis.database.migrations import upgrade
from aegis.settings import PostgresSettings, SQLiteSettings
from tests.servers import ServerMissing, neo4j, ollama_real, postgres, redis
from tests.servers.ollama import OllamaLike, running_ollama_like


def _address(variable: str, starter: AbstractContextManager[str]) -> Generator[str]:
    """The address that the variable names, or that of a server of ours."""
    if given := os.environ.get(variable):
        yield given
        return
    try:
        url = starter.__enter__()
    except ServerMissing as missing:
        pytest.skip(f"{missing} Or set {variable}.")
    try:
        yield url
    finally:
        starter.__exit__(None, None, None)


@pytest.fixture(scope="session")
def postgres_url() -> Generator[str]:
    """A PostgreSQL server; each test makes databases of its own there."""
    yield from _address(postgres.VARIABLE, postgres.running_postgres())


@pytest.fixture(scope="session")
def neo4j_url() -> Generator[str]:
    """A Neo4j server without authentication (or with the user and password in its address)."""
    yield from _address(neo4j.VARIABLE, neo4j.running_neo4j())


@pytest.fixture(scope="session")
def redis_url() -> Generator[str]:
    """A Redis server, for channels and keys under prefixes of each test's own."""
    yield from _address(redis.VARIABLE, redis.running_redis())


@pytest.fixture(scope="session")
def ollama_url() -> Generator[str]:
    """A real Ollama with a tiny model of random weights: protocol, never answer quality."""
    yield from _address(ollama_real.VARIABLE, ollama_real.running_ollama())


@pytest.fixture
def ollama_like() -> Generator[OllamaLike]:
    """A server that speaks Ollama's protocol, with speeds and faults to set."""
    with running_ollama_like() as server:
        yield server


@asynccontextmanager
async def fresh_postgres_database(url: str) -> AsyncGenerator[str]:
    """The address of a new, empty database on this server, dropped afterwards."""
    import asyncpg

    name = f"aegis_test_{secrets.token_hex(6)}"
    server: Any = await asyncpg.connect(url)
    try:
        await server.execute(f"CREATE DATABASE {name}")
        try:
            yield urlsplit(url)._replace(path=f"/{name}").geturl()
        finally:
            await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await server.close()


@asynccontextmanager
async def fresh_store(engine: str, request: pytest.FixtureRequest, folder: Path) -> AsyncGenerator[Database]:
    """A fresh store with all tables on `sqlite` or `postgres`, for fixtures with parameters of their own."""
    if engine == "sqlite":
        async with open_database(SQLiteSettings(), folder) as opened:
            await upgrade(opened)
            yield opened
        return
    async with fresh_postgres_database(request.getfixturevalue("postgres_url")) as address:
        settings = PostgresSettings(kind="postgres", url=SecretStr(address), pool_size=5)
        async with open_database(settings, folder) as opened:
            await upgrade(opened)
            yield opened


@pytest.fixture
async def postgres_database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Database]:
    """A fresh store on PostgreSQL, with all tables."""
    async with fresh_store("postgres", request, tmp_path) as opened:
        yield opened


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.servers)])
async def any_database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Database]:
    """A fresh store on each engine: contract tests run on both. PostgreSQL only with the `servers` mark."""
    async with fresh_store(request.param, request, tmp_path) as opened:
        yield opened
