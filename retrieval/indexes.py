"""Which embedder filled the vector store: remembered in the relational store, whatever the settings say.

One index is current, and searches go through it. Another may be building, for `aegis reindex`; it takes over at the
end (`reindexing.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter
from sqlalchemy import JSON, Column, Integer, String, Table, delete, select, update

from aegis.database import Database, metadata
from aegis.database.schema import insert_missing
from aegis.settings import EmbedderSettings

State = Literal["current", "building"]
_TODAYS = {"api_key", "daily_budget", "monthly_budget"}  # a secret, and what changes no vector
_SETTINGS: TypeAdapter[EmbedderSettings] = TypeAdapter(EmbedderSettings)

indexes = Table(
    "indexes",
    metadata,
    Column("embedder", String(80), primary_key=True),
    Column("dimensions", Integer, nullable=False),
    Column("settings", JSON, nullable=False),  # how the embedder is opened, without secrets and budgets
    Column("state", String(10), nullable=False),
)


@dataclass(frozen=True, slots=True)
class Remembered:
    embedder: str
    dimensions: int
    settings: Mapping[str, Any]
    state: State

    def opened_by(self, given: EmbedderSettings) -> EmbedderSettings:
        """Its settings; what is not remembered is as in `given`, where that is of the same kind."""
        todays = {key: value for key, value in given.model_dump().items() if key in _TODAYS}
        same = given.kind == self.settings.get("kind")
        return _SETTINGS.validate_python({**self.settings, **(todays if same else {})})


async def remembered(database: Database) -> dict[State, Remembered]:
    async with database.read() as connection:
        rows = [Remembered(**row) for row in (await connection.execute(select(indexes))).mappings()]
    return {row.state: row for row in rows}


async def remember(
    database: Database, embedder: str, dimensions: int, settings: EmbedderSettings, state: State
) -> None:
    """Nothing happens when this embedder is remembered already, or another is in this state."""
    kept = settings.model_dump(mode="json", exclude=_TODAYS)
    async with database.write() as connection:
        taken = select(indexes.c.embedder).where(indexes.c.state == state)
        if (await connection.execute(taken)).first() is None:
            row = {"embedder": embedder, "dimensions": dimensions, "settings": kept, "state": state}
            await connection.execute(insert_missing(indexes, connection.dialect.name).values(row))


async def switch(database: Database, embedder: str) -> None:
    """The index that was building becomes the current one; the other is forgotten."""
    async with database.write() as connection:
        await connection.execute(delete(indexes).where(indexes.c.embedder != embedder))
        await connection.execute(update(indexes).values(state="current"))


async def give_up_building(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(delete(indexes).where(indexes.c.state == "building"))


def projection_name(embedder: str) -> str:
    """Under which the outbox remembers how far this index is."""
    return f"vectors:{embedder}"
