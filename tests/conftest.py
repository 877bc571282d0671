"""Fixtures that more than one folder uses."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from aegis.database import Database, open_database
from aegis.database.migrations import upgrade
from aegis.settings import SQLiteSettings
from tests.lookups import looked_up

pytest_plugins = ["tests.servers.fixtures"]
_WHOLE = ("system", "ui")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the whole application first: they take longest, and no worker should be left with one at the end.

    A browser is not ours: a test of the page that fails is run once more, and the summary names it (`R`).
    """
    here = Path(__file__).parent
    items.sort(key=lambda item: item.path.relative_to(here).parts[0] not in _WHOLE)
    for item in items:
        if item.path.relative_to(here).parts[0] == "ui":
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session", autouse=True)
def looks_are_lookups() -> Iterator[None]:
    with looked_up():
        yield


@pytest.fixture
async def database(tmp_path: Path) -> AsyncGenerator[Database]:
    """A fresh SQLite store with all tables, made by the migrations."""
    async with open_database(SQLiteSettings(), tmp_path) as opened:
        await upgrade(opened)
        yield opened
