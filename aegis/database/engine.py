"""Connections to the relational store: SQLite in WAL mode, or PostgreSQL.

On SQLite writers take turns (one connection, `BEGIN IMMEDIATE`), readers never wait for them. Keep write
transactions short: a batch of at most some hundred rows, and no await on anything but the connection inside.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from aegis import telemetry, tracing
from aegis.database.checkpoints import NO_CHECKPOINT, Checkpoints
from aegis.database.commits import SharedCommits
from aegis.database.sqlite import Connecting, connected, plain
from aegis.database.sqlite import Connection as Writer
from aegis.errors import ConfigurationError, DataFolderError, StoreUnavailable
from aegis.settings import PostgresSettings, SQLiteSettings

WAIT = 30  # seconds for SQLite's writer
CHECKPOINTS = 100  # attempts to empty SQLite's log, a tenth of a second apart
SQLITE_FILE = "aegis.sqlite"
PRAGMAS = ("journal_mode=WAL", "busy_timeout=10000", "cache_size=-8000")
_READ_WAIT = telemetry.POOL_WAIT_SECONDS.labels("read")
_WRITE_WAIT = telemetry.POOL_WAIT_SECONDS.labels("write")
_READ = telemetry.BACKEND_SECONDS.labels("database", "read")
GAVE_WAY = ("40P01", "40001")  # PostgreSQL: deadlock, serialization failure; nothing of the transaction was kept
LOOKING = ("busy_timeout=0", "journal_mode=WAL", "cache_size=-8000", "query_only=ON")  # the event loop waits
READING = (*PRAGMAS, "cache_size=-2000", "query_only=ON")  # there are several; the system keeps the pages, too
DURABLE = ("synchronous=FULL", "foreign_keys=ON", NO_CHECKPOINT)

Result = TypeVar("Result")
Unit = Callable[[Connection], Result]
"""A whole transaction as a plain function, which awaits nothing."""


class Database:
    """Read and write transactions. Raises StoreUnavailable when the store cannot be reached.

    `read` and `write` are for what takes long or awaits something in between. What every question asks is a unit:
    SQLAlchemy's asynchronous layer and the hops between threads cost ten times what such statements take.
    """

    def __init__(self, reader: AsyncEngine, writer: AsyncEngine, looking: Engine | None = None) -> None:
        """`looking` reads in the caller's thread, where that is quicker than to hand it to another."""
        self._reader = reader
        self._writer = writer
        self._looking = looking
        self._long = asyncio.Lock()
        self._short = SharedCommits(self._raw)

    @property
    def dialect(self) -> str:
        return self._writer.dialect.name

    @property
    def url(self) -> str:
        """With the password; for the migrations only."""
        return self._writer.url.render_as_string(hide_password=False)

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        began = time.perf_counter()
        with tracing.span("database read"), _translated():
            async with self._reader.connect() as connection:
                _READ_WAIT.observe(time.perf_counter() - began)
                yield connection
        _READ.observe(time.perf_counter() - began)

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        """One transaction, committed on leaving, rolled back on an error."""
        began = time.perf_counter()
        with tracing.span("database write"), _translated():
            async with self._one_by_one(), self._writer.connect() as connection, connection.begin():
                started = time.perf_counter()
                _WRITE_WAIT.observe(started - began)
                yield connection
            if self.dialect != "sqlite":  # which tells from its own thread
                telemetry.wrote(time.perf_counter() - started)

    async def look(self, unit: Unit[Result]) -> Result:
        """Read a few rows by their keys. On SQLite the event loop waits for it: some microseconds a statement.

        Not for a lock: SQLite has one while it recovers or another process ends, and a reader waits in its own thread.
        """
        if self._looking is None:
            return await self._read_by(unit)
        began = time.perf_counter()
        try:
            with tracing.span("database read"), _translated(), self._looking.connect() as connection:
                found = unit(connection)
        except StoreUnavailable as error:
            if not _busy(error.__cause__):
                raise
            return await self._read_by(unit)
        _READ.observe(time.perf_counter() - began)
        return found

    async def _read_by(self, unit: Unit[Result]) -> Result:
        async with self.read() as connection:
            return await connection.run_sync(unit)

    async def transact(self, unit: Unit[Result], *, bulk: bool = False) -> Result:
        """One write transaction, committed when the unit returns, rolled back when it raises.

        Units of a millisecond or two: on SQLite those that wait at the same time share a commit, and wait for no more
        than one transaction of another kind, such as one that is `bulk`: some hundred rows.
        """
        if self.dialect != "sqlite":
            async with self.write() as connection:
                return await connection.run_sync(unit)
        with tracing.span("database write"), _translated():
            if not bulk:
                return await self._short.run(unit)
            began = time.perf_counter()
            async with self._one_by_one(), self._raw() as writer:
                _WRITE_WAIT.observe(time.perf_counter() - began)
                (result,) = await writer.transact([partial(copy_context().run, unit)])
                return result

    @asynccontextmanager
    async def _one_by_one(self) -> AsyncGenerator[None]:
        """On SQLite at most one transaction that may be long stands in the writer's queue before one that is short."""
        if self.dialect != "sqlite":
            yield
            return
        async with asyncio.timeout(WAIT):
            await self._long.acquire()
        try:
            yield
        finally:
            self._long.release()

    @asynccontextmanager
    async def _raw(self) -> AsyncGenerator[Writer]:
        async with self._writer.connect() as connection:
            raw: Any = (await connection.get_raw_connection()).driver_connection
            yield raw

    async def compact(self) -> None:
        """Rewrite the whole store, so that nothing that was deleted can be read off the disk any more.

        Other writers wait meanwhile; readers go on, and the log is emptied when the last of them has ended.
        """
        async with self._writer.connect() as connection:
            if self.dialect != "sqlite":
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                await connection.exec_driver_sql("VACUUM (FULL)")
                return
            raw: Any = (await connection.get_raw_connection()).driver_connection  # outside a transaction
            await raw.execute("VACUUM")
            for _ in range(CHECKPOINTS):
                cursor = await raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                if not (await cursor.fetchone())[0]:
                    return
                await asyncio.sleep(0.1)
            raise StoreUnavailable("The log of the relational store could not be emptied: readers never left it.")

    async def ping(self) -> None:
        async with self.read() as connection:
            await connection.exec_driver_sql("SELECT 1")


@asynccontextmanager
async def open_database(settings: SQLiteSettings | PostgresSettings, folder: Path) -> AsyncGenerator[Database]:
    """Open the store; its tables must have been migrated (`aegis.database.migrations.upgrade`)."""
    if isinstance(settings, SQLiteSettings):
        async with _open_sqlite(settings, folder / SQLITE_FILE) as database:
            yield database
        return
    engine = _postgres_engine(settings)
    try:
        yield Database(engine, engine)
    finally:
        await engine.dispose()


@asynccontextmanager
async def _open_sqlite(settings: SQLiteSettings, file: Path) -> AsyncGenerator[Database]:
    checkpoints = Checkpoints(file)

    def committed(seconds: float) -> None:
        telemetry.wrote(seconds)
        checkpoints.committed()

    url = URL.create("sqlite+aiosqlite", database=str(file))  # not a string: a folder's name may hold ? or %
    reading = Connecting(str(file), "BEGIN", READING)
    writing = Connecting(str(file), "BEGIN IMMEDIATE", (*PRAGMAS, *DURABLE), committed=committed)
    # What people ask and write is no business of a log: errors name the statement, never its values.
    reader, writer = (
        create_async_engine(
            url, async_creator=creator, pool_size=size, max_overflow=0, pool_timeout=WAIT, hide_parameters=True
        )
        for creator, size in ((reading, settings.readers), (writing, 1))
    )
    looking = plain(partial(connected, str(file), LOOKING), "BEGIN")
    checkpoints.start()
    try:
        yield Database(reader, writer, looking)
    finally:
        await asyncio.to_thread(checkpoints.stop)
        looking.dispose()
        for engine, connecting in ((reader, reading), (writer, writing)):
            await engine.dispose()
            await connecting.gone()


def _postgres_engine(settings: PostgresSettings) -> AsyncEngine:
    url = settings.url.get_secret_value()
    for prefix in ("postgresql://", "postgres://"):
        if url.startswith(prefix):
            url = "postgresql+asyncpg://" + url.removeprefix(prefix)
    try:
        return create_async_engine(
            url,
            pool_size=settings.pool_size,
            max_overflow=0,
            pool_timeout=settings.timeout,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={"timeout": settings.timeout, "command_timeout": settings.timeout},
        )
    except (ArgumentError, ValueError):  # whose words may hold the password
        raise ConfigurationError(
            "AEGIS_DATABASE__URL is no address of a PostgreSQL server. It reads "
            "postgresql://user:password@host:port/database; write special characters of the password as %XX."
        ) from None


class _translated:
    """Cannot be reached: StoreUnavailable. A damaged file: DataFolderError. Programming errors stay what they are."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, DBAPIError) and _damaged(error.orig):
            raise DataFolderError(
                f"The relational store is damaged ({error.orig}). "
                "Put the data folder back from a backup, or set another with AEGIS_DATA_DIR."
            ) from error
        if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in GAVE_WAY:
            raise StoreUnavailable("Two writers waited for each other, and this one gave way. Try again.") from error
        if isinstance(error, OperationalError | InterfaceError | PoolTimeout | OSError) or (
            isinstance(error, DBAPIError) and error.connection_invalidated
        ):
            reason = error.orig if isinstance(error, DBAPIError) else error  # without the statement
            raise StoreUnavailable(f"The relational store does not answer: {reason}") from error


def _busy(error: BaseException | None) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", 0) if isinstance(error, DBAPIError) else 0
    return code & 0xFF == sqlite3.SQLITE_BUSY  # the rest of an extended code says why


def _damaged(error: BaseException | None) -> bool:
    return str(getattr(error, "sqlite_errorname", "")).startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT"))
