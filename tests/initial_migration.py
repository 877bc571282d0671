"""Until the first release: write aegis/database/migrations/versions/0001_initial.py anew from all tables.

Run `python -m tests.initial_migration` after changing a table. After the first release, tables change by new
revisions only.
"""

from __future__ import annotations

import importlib

from alembic import command
from sqlalchemy import create_engine

from aegis.database.migrations import HERE, config

TABLES = (
    "aegis.database.outbox",
    "aegis.database.leases",
    "inference.budgets",
    "inference.sharing",
    "retrieval.tables",
    "retrieval.indexes",
    "retrieval.ingestion.tables",
    "memory.conversations.tables",
    "memory.facts.tables",
    "memory.reading.tables",
    "memory.recalls",
    "memory.standing",
)


def main() -> None:
    for module in TABLES:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as missing:
            if missing.name != module:
                raise
    for old in (HERE / "versions").glob("*.py"):
        old.unlink()
    with create_engine("sqlite://").connect() as connection:
        made = config()
        made.attributes["connection"] = connection
        command.revision(made, "Initial", autogenerate=True, rev_id="0001")


if __name__ == "__main__":
    main()
