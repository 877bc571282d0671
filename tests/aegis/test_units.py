"""Units: a whole transaction as a plain function, the same on both engines."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from aegis import telemetry
from aegis.database import Database, open_database
from aegis.database.engine import SQLITE_FILE
from aegis.errors import NotFound, StoreUnavailable
from aegis.settings import SQLiteSettings
from memory.conversations.tables import unindexed
from memory.facts.tables import groups


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.servers)])
def store(request: pytest.FixtureRequest) -> Database:
    return request.getfixturevalue("database" if request.param == "sqlite" else "postgres_database")


def add(connection: Connection, key: str) -> None:
    connection.execute(groups.insert(), {"id": key, "kind": "d", "name": key})


def count(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).where(groups.c.id > "")).scalar_one())


async def test_a_unit_is_committed_whole_and_seen_by_the_next_look(store: Database) -> None:
    def both(connection: Connection) -> str:
        add(connection, "a")
        add(connection, "b")
        return "done"

    assert await store.look(count) == 0
    assert await store.transact(both) == "done"
    assert await store.look(count) == 2


async def test_a_unit_that_raises_leaves_nothing(store: Database) -> None:
    def broken(connection: Connection) -> None:
        add(connection, "a")
        raise NotFound("There is none.")

    with pytest.raises(NotFound):
        await store.transact(broken)
    assert await store.look(count) == 0
    await store.transact(lambda connection: add(connection, "a"))
    assert await store.look(count) == 1


async def test_units_and_other_writers_take_turns(store: Database) -> None:
    async def slowly(key: str) -> None:
        async with store.write() as connection:
            await connection.execute(groups.insert(), {"id": key, "kind": "d", "name": key})
            await asyncio.sleep(0)

    units = [store.transact(lambda connection, key=f"u{i}": add(connection, key)) for i in range(20)]
    await asyncio.gather(*units, *(slowly(f"w{i}") for i in range(20)))
    assert await store.look(count) == 40


async def test_a_unit_that_nobody_waits_for_any_more_is_whole_or_not_there(store: Database) -> None:
    def both(connection: Connection) -> None:
        add(connection, "a")
        add(connection, "b")

    task = asyncio.create_task(store.transact(both))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.transact(lambda connection: add(connection, "c"))
    assert await store.look(count) in (1, 3)


async def test_a_look_on_sqlite_cannot_write(database: Database) -> None:
    with pytest.raises(StoreUnavailable):
        await database.look(lambda connection: add(connection, "a"))
    assert await database.look(count) == 0


async def test_a_look_waits_for_a_lock_without_the_event_loop(database: Database, tmp_path: Path) -> None:
    """Who holds the lock lets go of it on this very loop: one that waited here would wait in vain."""
    await database.transact(lambda connection: add(connection, "a"))
    folder = tmp_path / "locked"
    folder.mkdir()
    await database.compact()  # all of it is in the one file
    shutil.copy(tmp_path / SQLITE_FILE, folder)
    with closing(sqlite3.connect(folder / SQLITE_FILE, isolation_level=None)) as holder:
        holder.execute("PRAGMA locking_mode=EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        async with open_database(SQLiteSettings(), folder) as other:
            looking = asyncio.create_task(other.look(count))
            await asyncio.sleep(0.1)
            assert not looking.done()
            holder.close()
            assert await looking == 1


async def test_a_unit_knows_who_asked(database: Database) -> None:
    """What counts or traces statements finds its caller's context, in whatever thread the unit runs."""
    asker: ContextVar[str] = ContextVar("asker", default="nobody")
    asker.set("ann")

    def told(_: Any) -> str:
        return asker.get()

    assert (await database.look(told), await database.transact(told)) == ("ann", "ann")


async def test_units_that_wait_together_share_a_commit_and_only_the_broken_one_is_lost(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[float] = []
    monkeypatch.setattr(telemetry, "wrote", commits.append)

    def broken(connection: Connection) -> None:
        add(connection, "broken")
        raise NotFound("There is none.")

    async with database.write():  # the writer is not free
        tasks = [asyncio.create_task(database.transact(partial(add, key=key))) for key in "abc"]
        failing = asyncio.create_task(database.transact(broken))
        cut = asyncio.create_task(database.transact(partial(add, key="cut")))
        await asyncio.sleep(0.01)
        cut.cancel()
    outcomes = await asyncio.gather(*tasks, failing, cut, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes[3:]] == [NotFound, asyncio.CancelledError]
    assert await database.look(count) == 3
    assert len(commits) == 1


async def test_when_the_commit_fails_everybody_of_it_is_told(database: Database) -> None:
    def fails(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")  # until the commit
        connection.execute(unindexed.insert(), {"turn_id": "of nobody", "owner": "ann"})

    async with database.write():
        tasks = [asyncio.create_task(database.transact(unit)) for unit in (partial(add, key="a"), fails)]
        await asyncio.sleep(0.01)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, Exception) for outcome in outcomes), outcomes
    assert await database.look(count) == 0
    await database.transact(partial(add, key="b"))
    assert await database.look(count) == 1


async def test_a_unit_waits_for_one_bulk_transaction_at_most(database: Database) -> None:
    order: list[str] = []

    async def slow(name: str) -> None:
        async with database.write():
            order.append(name)

    def takes(name: str) -> Callable[[Connection], None]:
        return lambda _: order.append(name)

    async with database.write():
        bulk = [asyncio.create_task(slow(f"slow {i}")) for i in range(3)]
        bulk += [asyncio.create_task(database.transact(takes(f"bulk {i}"), bulk=True)) for i in range(3)]
        await asyncio.sleep(0.01)
        turn = asyncio.create_task(database.transact(takes("turn")))
        await asyncio.sleep(0.01)
    await asyncio.gather(*bulk, turn)
    assert order.index("turn") <= 1
    assert len(order) == 7


async def test_a_look_that_reads_a_whole_table_fails_the_test_it_is_in(database: Database) -> None:
    with pytest.raises(AssertionError, match="'groups'"):
        await database.look(lambda c: c.execute(select(groups.c.name).where(groups.c.name == "a")).all())
    await database.look(lambda c: c.execute(select(groups.c.name).where(groups.c.id == "a")).all())
