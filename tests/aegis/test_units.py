"""Units: a whole transaction as a plain function, the same on both engines."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from aegis.database import Database
from aegis.errors import NotFound, StoreUnavailable
from memory.facts.tables import groups


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.servers)])
def store(request: pytest.FixtureRequest) -> Database:
    return request.getfixturevalue("database" if request.param == "sqlite" else "postgres_database")


def add(connection: Connection, key: str) -> None:
    connection.execute(groups.insert(), {"id": key, "kind": "d", "name": key})


def count(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(groups)).scalar_one())


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


async def test_a_unit_knows_who_asked(database: Database) -> None:
    """What counts or traces statements finds its caller's context, in whatever thread the unit runs."""
    asker: ContextVar[str] = ContextVar("asker", default="nobody")
    asker.set("ann")

    def told(_: Any) -> str:
        return asker.get()

    assert (await database.look(told), await database.transact(told)) == ("ann", "ann")
