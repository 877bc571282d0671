"""Alembic migrations, run by `upgrade` when a store is opened for serving. No alembic.ini: one call, one place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect

from aegis.database.engine import Database
from aegis.errors import FormatTooNew

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
    """Bring the tables to the newest form. Where they have it already, Alembic is not even imported.

    Raises FormatTooNew when a newer AegisRAG has changed them.
    """
    async with database.read() as connection:
        found = await connection.run_sync(_revision)
    if found == newest():
        return
    if found is not None and found not in known():
        raise FormatTooNew(
            f"The tables have form {found}, this AegisRAG knows up to {newest()}. "
            "Install the newer AegisRAG, or set another folder with AEGIS_DATA_DIR."
        )
    async with database.write() as connection:
        if database.dialect == "postgresql":
            await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_POSTGRES_LOCK})")
        await connection.run_sync(_upgrade)


def known() -> list[str]:
    """All revisions, in order: their files' names are."""
    files = sorted((HERE / "versions").glob("[0-9]*.py"))
    return [_REVISION.findall(file.read_text(encoding="utf-8"))[0] for file in files]


def newest() -> str:
    return known()[-1]


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()


def _upgrade(connection: Connection) -> None:
    from alembic import command

    made = config()
    made.attributes["connection"] = connection
    command.upgrade(made, "head")
