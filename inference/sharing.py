"""What may leave this machine: collections by setting, conversations by their owner's mark. All else is private."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from sqlalchemy import Column, ColumnElement, String, Table, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database import Database, Timestamp, metadata
from aegis.scope import Scope
from aegis.settings import CloudSettings

shareable_conversations = Table(
    "shareable_conversations",
    metadata,
    Column("conversation_id", String(36), primary_key=True),
    Column("owner", String(120), primary_key=True),
    Column("marked_at", Timestamp, nullable=False),
)


class Sharing:
    """A mark counts for the user who made it only. `name` and `forget`: it goes with its conversation."""

    name = "marks"

    def __init__(self, database: Database, settings: CloudSettings, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock

    async def may_leave(
        self, scope: Scope, conversation_id: str, collections: Iterable[str], *, agreed: bool = False
    ) -> bool:
        """Whether a question of this conversation may, with passages of these collections. `agreed`: its owner said so
        for this very question."""
        if not self._settings.allowed or not set(collections) <= set(self._settings.collections):
            return False
        return agreed or self._settings.ask or await self.marked(scope, conversation_id)

    async def marked(self, scope: Scope, conversation_id: str) -> bool:
        query = select(shareable_conversations.c.owner).where(*_mine(scope, conversation_id))
        async with self._database.read() as connection:
            return (await connection.execute(query)).first() is not None

    async def mark(self, scope: Scope, conversation_id: str) -> None:
        async with self._database.write() as connection:
            insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(shareable_conversations)
            row = insert.values(conversation_id=conversation_id, owner=scope.user, marked_at=self._clock())
            await connection.execute(row.on_conflict_do_nothing())

    async def unmark(self, scope: Scope, conversation_id: str) -> None:
        async with self._database.write() as connection:
            await self.forget(connection, scope, conversation_id)

    async def forget(self, connection: AsyncConnection, scope: Scope, conversation_id: str) -> int:
        gone = delete(shareable_conversations).where(*_mine(scope, conversation_id))
        return (await connection.execute(gone)).rowcount


def _mine(scope: Scope, conversation_id: str) -> tuple[ColumnElement[bool], ...]:
    table = shareable_conversations.c
    return table.conversation_id == conversation_id, table.owner == scope.user
