"""Our connection to SQLite: statements that nobody waits for fail aloud, and in whole transactions."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from aegis import telemetry
from aegis.database import Database, checkpoints, open_database
from aegis.database.schema import insert_missing
from aegis.database.sqlite import ROWS, connected
from aegis.database.sqlite import Connection as OwnConnection
from aegis.settings import SQLiteSettings

things = Table("things", MetaData(), Column("id", Integer, primary_key=True), Column("name", String, nullable=False))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Database]:
    async with open_database(SQLiteSettings(), tmp_path) as database:
        async with database.write() as connection:
            await connection.run_sync(things.metadata.create_all)
        yield database


async def count(store: Database) -> int:
    async with store.read() as connection:
        return (await connection.execute(select(func.count()).select_from(things))).scalar_one()


def rows(first: int, many: int) -> list[dict[str, object]]:
    return [{"id": number, "name": f"thing {number}"} for number in range(first, first + many)]


async def written(store: Database, *statements: Sequence[dict[str, object]]) -> None:
    async with store.write() as connection:
        for statement in statements:
            await connection.execute(insert(things), statement)


async def test_many_rows_at_a_time(store: Database) -> None:
    async with store.write() as connection:
        await connection.execute(insert(things), rows(0, 2 * ROWS + 3))
        assert (await connection.execute(select(func.count()).select_from(things))).scalar_one() == 2 * ROWS + 3
    assert await count(store) == 2 * ROWS + 3


async def test_many_rows_at_a_time_in_a_unit(store: Database) -> None:
    """One statement for each ROWS of them: the interpreter is given away, and waited for, at every statement."""
    ran: list[str] = []

    def unit(connection: Connection) -> int:
        raw: Any = connection.connection.dbapi_connection
        raw.set_trace_callback(ran.append)
        connection.execute(insert_missing(things, "sqlite"), rows(0, ROWS + 3))
        connection.execute(insert_missing(things, "sqlite"), rows(1, ROWS + 3))
        raw.set_trace_callback(None)
        return connection.execute(select(func.count()).select_from(things)).scalar_one()

    assert await store.transact(unit) == await count(store) == ROWS + 4
    assert sum(sql.startswith("INSERT") for sql in ran) == 4


async def test_a_failure_in_many_rows_of_a_unit_leaves_nothing(store: Database) -> None:
    with pytest.raises(IntegrityError):
        await store.transact(lambda connection: connection.execute(insert(things), [*rows(0, 5), *rows(4, 5)]))
    assert await count(store) == 0


async def test_a_failure_is_raised_by_the_commit_and_leaves_nothing(store: Database) -> None:
    with pytest.raises(IntegrityError):
        await written(store, rows(0, 3), [*rows(10, 3), *rows(10, 1)], rows(20, 3))
    assert await count(store) == 0
    await written(store, rows(0, 3))  # the connection is as good as new
    assert await count(store) == 3


async def test_a_failure_is_raised_by_the_next_statement(store: Database) -> None:
    async with store.write() as connection:
        await connection.execute(insert(things), [*rows(0, 3), *rows(0, 1)])
        with pytest.raises(IntegrityError):
            await connection.execute(update(things).values(name="never"))
        await connection.rollback()
    assert await count(store) == 0


async def test_a_failure_that_is_rolled_back_is_forgotten(store: Database) -> None:
    async with store.write() as connection:
        await connection.execute(insert(things), [*rows(0, 3), *rows(0, 1)])
        await connection.rollback()
    await written(store, rows(0, 2))
    assert await count(store) == 2


async def test_a_reader_sees_one_moment_and_lets_go_of_it(store: Database) -> None:
    async with store.read() as reading:
        before = (await reading.execute(select(func.count()).select_from(things))).scalar_one()
        async with store.write() as connection:
            await connection.execute(insert(things), rows(0, 2))
        assert (await reading.execute(select(func.count()).select_from(things))).scalar_one() == before == 0
    assert await count(store) == 2


async def test_how_long_a_transaction_held_the_store_is_told(store: Database) -> None:
    async with store.write() as connection:
        await connection.execute(insert(things), rows(0, 1))
        await connection.execute(update(things).values(name="held"))
        await asyncio.sleep(0.3)
    assert telemetry.LONGEST_WRITE.seconds() >= 0.3


async def test_what_waits_and_what_is_read_first_holds_nothing(store: Database, tmp_path: Path) -> None:
    async with store.write() as connection:
        assert (await connection.execute(select(func.count()).select_from(things))).scalar_one() == 0
        await connection.execute(insert(things), rows(0, 2))
        with closing(sqlite3.connect(tmp_path / "aegis.sqlite", timeout=0)) as another:
            another.execute("BEGIN IMMEDIATE").close()  # would raise "database is locked"
            another.rollback()
    assert await count(store) == 2


async def test_a_row_that_is_asked_back_is_written_at_once(store: Database) -> None:
    async with store.write() as connection:
        written = await connection.execute(insert(things).values(id=7, name="seven").returning(things.c.name))
        assert written.scalar_one() == "seven"


async def test_the_log_is_copied_into_the_file_beside_the_writers(store: Database, tmp_path: Path) -> None:
    log = tmp_path / "aegis.sqlite-wal"
    for number in range(40):
        await written(store, [{"id": number, "name": "x" * 100_000}])
    grown = log.stat().st_size
    assert grown > 1_000 * 4096  # more than SQLite's own limit: no commit has copied it
    await asyncio.sleep(2 * checkpoints.EVERY + 0.5)
    await written(store, [{"id": 100, "name": "one more"}])
    with closing(sqlite3.connect(tmp_path / "aegis.sqlite")) as another:
        _, left, copied = another.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    assert left == copied < 100  # it began again from the start
    assert log.stat().st_size == grown


async def test_the_log_is_bounded_though_somebody_always_writes_and_reads(
    store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "LONG", 500)
    written_bytes, number = 0, 0
    loop = asyncio.get_running_loop()
    until = loop.time() + 4 * checkpoints.EVERY

    async def reading() -> None:
        while loop.time() < until:
            async with store.read() as connection:
                await connection.execute(select(func.count()).select_from(things))
                await asyncio.sleep(0.01)

    async def writing() -> None:
        nonlocal number, written_bytes
        while loop.time() < until:
            number += 1
            await written(store, [{"id": number, "name": "x" * 50_000}])
            written_bytes += 50_000
            await asyncio.sleep(0.002)  # SQLite is held for most of the time, not for all of it

    await asyncio.gather(reading(), reading(), writing())
    log = (tmp_path / "aegis.sqlite-wal").stat().st_size
    assert log < written_bytes * 0.7, (log, written_bytes)


async def test_a_log_that_cannot_be_copied_is_told_once_and_nothing_is_lost(
    store: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: Path) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(checkpoints, "_checkpoint", full)
    monkeypatch.setattr(checkpoints, "EVERY", 0.05)
    await written(store, rows(0, 3))
    await asyncio.sleep(checkpoints.EVERY + 1.3)  # the wait that has begun is a long one
    assert [record.message for record in caplog.records if "disk is full" in record.message] == [
        "SQLite's log cannot be copied into its file and grows meanwhile: database or disk is full"
    ]
    assert await count(store) == 3


async def test_a_connection_whose_task_is_cut_off_while_it_opens_is_closed() -> None:
    made: list[sqlite3.Connection] = []

    def slowly() -> sqlite3.Connection:
        time.sleep(0.2)
        made.append(sqlite3.connect(":memory:", check_same_thread=False))
        return made[0]

    async def opened(connection: OwnConnection) -> None:
        await connection

    connection = OwnConnection(slowly, "BEGIN", None)
    task = asyncio.create_task(opened(connection))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait({task})
    await connection.gone()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        made[0].execute("SELECT 1")


def test_a_store_that_cannot_be_opened_leaves_no_connection(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    (tmp_path / "no.sqlite").write_bytes(b"this is no database, whatever its name says")
    with pytest.raises(sqlite3.DatabaseError):
        connected(str(tmp_path / "no.sqlite"), ("journal_mode=WAL",))
    gc.collect()
    assert not [str(one.message) for one in recwarn if one.category is ResourceWarning]
