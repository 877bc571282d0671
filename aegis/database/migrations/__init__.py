"""Alembic migrations, run by `upgrade` when a store is opened for serving. No alembic.ini: one call, one place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect

from aegis.database.engine import Database

if TYPE_CHECKING:
    from alembic.config import Config

HERE = Path(__file__).parent
_REVISION = re.compile(r"""^revision = ["'](\w+)["']""", re.MULTILINE)


def config() -> Config:
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(HERE))
    return made


_POSTGRES_LOCK = 7_120_410  # any constant: replicas that start together migrate one after the other


async def upgrade(database: Database) -> None:
    """Bring the tables to the newest form. Where they have it already, Alembic is not even imported."""
    async with database.read() as connection:
        if await connection.run_sync(_revision) == newest():
            return
    async with database.write() as connection:
        if database.dialect == "postgresql":
            await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_POSTGRES_LOCK})")
        await connection.run_sync(_upgrade)


def newest() -> str:
    """The revision of the last file; their names are in order."""
    last = max((HERE / "versions").glob("[0-9]*.py"))
    found = _REVISION.search(last.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{last} names no revision")
    return found[1]


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()


def _upgrade(connection: Connection) -> None:
    from alembic import command

    made = config()
    made.attributes["connection"] = connection
    command.upgrade(made, "head")
