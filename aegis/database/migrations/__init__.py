"""Alembic migrations, run by `upgrade` when a store is opened for serving. No alembic.ini: one call, one place."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from aegis.database.engine import Database

HERE = Path(__file__).parent


def config() -> Config:
    made = Config()
    made.set_main_option("script_location", str(HERE))
    return made


_POSTGRES_LOCK = 7_120_410  # any constant: replicas that start together migrate one after the other


async def upgrade(database: Database) -> None:
    """Bring the tables to the newest form."""
    async with database.write() as connection:
        if database.dialect == "postgresql":
            await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_POSTGRES_LOCK})")
        await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
    made = config()
    made.attributes["connection"] = connection
    command.upgrade(made, "head")
