"""What may leave this machine: collections by setting, conversations by their owner's mark. All else is private."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from sqlalchemy import Column, ColumnElement, String, Table, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database import Database, Timestamp, metadata
from aegis.errors import ConfigurationError
from aegis.scope import Scope
from aegis.settings import CloudSettings, EmbedderSettings, OllamaEmbedderSettings, OpenAIEmbedderSettings, Settings
from inference.premises import on_this_machine

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
        if not self._settings.may_send(collections):
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


def check_embedder(given: EmbedderSettings, settings: Settings) -> None:
    """Raises ConfigurationError where this embedder would send away what is private."""
    if isinstance(given, OllamaEmbedderSettings | OpenAIEmbedderSettings):
        check_embedding_at(given.url, settings)


def check_embedding_at(url: str, settings: Settings) -> None:
    """An embedder sees every document and every question, so one elsewhere needs the operator's word for all of them.

    Raises ConfigurationError, naming the settings.
    """
    cloud, trusted = settings.cloud, settings.ollama.trusted_hosts
    if on_this_machine(url, trusted):
        return
    if not (cloud.embedding and cloud.allowed and "*" in cloud.collections):
        raise ConfigurationError(
            f"The embedder at {url} runs on another machine: every document and question would be sent there, and "
            "all of them are private. If that machine is yours, name its host in AEGIS_OLLAMA__TRUSTED_HOSTS. To send "
            "everything to a cloud all the same, set AEGIS_CLOUD__ALLOWED=yes, AEGIS_CLOUD__EMBEDDING=yes and "
            """AEGIS_CLOUD__COLLECTIONS='["*"]', and start again."""
        )
    if not url.startswith("https:"):
        raise ConfigurationError(
            f"The embedder's address {url} would carry documents over the network in the clear. Use https."
        )


def _mine(scope: Scope, conversation_id: str) -> tuple[ColumnElement[bool], ...]:
    table = shareable_conversations.c
    return table.conversation_id == conversation_id, table.owner == scope.user
