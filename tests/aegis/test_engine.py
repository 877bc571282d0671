"""The relational store's errors: told as ours, without what people wrote and without passwords."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from aegis.database import Database, open_database
from aegis.database.schema import insert_missing
from aegis.errors import ConfigurationError, StoreUnavailable
from aegis.settings import PostgresSettings, SQLiteSettings
from memory.facts.tables import groups


async def test_an_error_does_not_tell_what_was_written(database: Database) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        async with database.read() as connection:  # takes no writes
            await connection.execute(text("INSERT INTO epochs VALUES (:id, :value)"), {"id": 424242, "value": 1})
    assert "424242" not in str(caught.value)
    assert "INSERT" not in str(caught.value)
    assert "424242" not in str(caught.value.__cause__)


@pytest.mark.servers
async def test_of_two_writers_that_wait_for_each_other_one_is_told_to_try_again(postgres_database: Database) -> None:
    first, second = asyncio.Event(), asyncio.Event()

    async def add(keys: tuple[str, str], mine: asyncio.Event, other: asyncio.Event) -> None:
        async with postgres_database.write() as connection:
            for key in keys:
                row = {"id": key, "kind": "d", "name": key}
                await connection.execute(insert_missing(groups, "postgresql"), row)
                mine.set()
                await other.wait()

    adding = (add(("a", "b"), first, second), add(("b", "a"), second, first))
    outcomes = await asyncio.gather(*adding, return_exceptions=True)
    (lost,) = [outcome for outcome in outcomes if outcome is not None]
    assert isinstance(lost, StoreUnavailable)
    assert "Try again" in str(lost)


async def test_a_wrong_address_is_a_wrong_setting_and_keeps_its_password(tmp_path: Path) -> None:
    for url in ("not an address, pa55word", "postgresql://aegis:pa55word@host:port/aegis"):
        with pytest.raises(ConfigurationError, match="AEGIS_DATABASE__URL") as caught:
            async with open_database(PostgresSettings(url=SecretStr(url)), tmp_path):
                pass
        assert "pa55word" not in str(caught.value)


async def test_a_connection_that_is_being_given_back_is_gone_when_the_store_is_closed(tmp_path: Path) -> None:
    """Its task was cut off, again and again, while it rolled back. What is left would wait for ever, or call a loop
    that is closed."""
    taken: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def writing(database: Database) -> None:
        async with database.write() as connection:
            taken.set_result((await connection.get_raw_connection()).driver_connection)
            await asyncio.Event().wait()

    async with open_database(SQLiteSettings(), tmp_path) as database:
        task = asyncio.create_task(writing(database))
        writer = await taken
        writer._tx.put_nowait((None, partial(time.sleep, 0.3)))  # its thread is slow to roll back
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait({task})
    assert not writer._thread.is_alive()
    if left := asyncio.all_tasks() - {asyncio.current_task()}:
        _, left = await asyncio.wait(left, timeout=5)
    assert not left
