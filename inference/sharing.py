"""What may leave this machine: collections by setting, conversations by their owner's mark. All else is private.

A document that is marked private stays here whatever else is set, and so does a conversation in which an answer was
made from one: its turns repeat what the document says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from sqlalchemy import Boolean, Column, ColumnElement, Connection, Index, String, Table, delete, exists, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database import Database, Timestamp, metadata
from aegis.database.schema import insert_missing
from aegis.errors import ConfigurationError
from aegis.scope import Scope
from aegis.settings import CloudSettings, EmbedderSettings, OllamaEmbedderSettings, OpenAIEmbedderSettings, Settings
from inference.premises import on_this_machine

MOST = 500  # ids of one statement

# What people said of their conversations. Without a row the settings decide.
marks = Table(
    "conversation_marks",
    metadata,
    Column("conversation_id", String(36), primary_key=True),
    Column("owner", String(120), primary_key=True),
    Column("shareable", Boolean, nullable=False),
    Column("marked_at", Timestamp, nullable=False),
)

# By id alone, which follows from owner, collection and source: a file that is taken in again is private again, and
# what was said of a document that is gone stays here.
private_documents = Table(
    "private_documents",
    metadata,
    Column("document_id", String(36), primary_key=True),
    Column("marked_by", String(120), nullable=False),
    Column("marked_at", Timestamp, nullable=False),
)

# Documents whose words an answer of the conversation was made from.
drawn_on = Table(
    "conversation_documents",
    metadata,
    Column("conversation_id", String(36), primary_key=True),
    Column("document_id", String(36), primary_key=True),
    Column("owner", String(120), nullable=False),
    Index("ix_conversation_documents_document", "document_id"),
)


class Sharing:
    """A mark counts for the user who made it only. `name` and `forget`: it goes with its conversation."""

    name = "marks"

    def __init__(self, database: Database, settings: CloudSettings, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock

    async def may_leave(
        self,
        scope: Scope,
        conversation_id: str,
        collections: Iterable[str],
        documents: Iterable[str],
        *,
        agreed: bool = False,
    ) -> bool:
        """Whether a question of this conversation may, with passages of these documents, which are of these
        collections. `agreed`: its owner said so for this very question."""
        if not self._settings.may_send(collections):
            return False
        marked = await self.marked(scope, conversation_id)
        if marked is False or not (agreed or self._settings.ask or marked):
            return False
        return not (await self.private(documents) or await self.rests_on_private(scope, conversation_id))

    async def stays(self, scope: Scope, conversation_id: str) -> bool:
        """Whether nothing of this conversation may leave, whatever the settings allow: its owner said so, or it rests
        on a private document."""
        if not conversation_id:
            return False
        marked = await self.marked(scope, conversation_id)
        return marked is False or await self.rests_on_private(scope, conversation_id)

    async def private(self, documents: Iterable[str]) -> frozenset[str]:
        """Those of these documents that are marked."""
        async with self._database.read() as connection:
            return await private_among(connection, documents)

    async def rests_on_private(self, scope: Scope, conversation_id: str) -> bool:
        """Whether an answer in it was made from a document that is marked now."""
        held = drawn_on.join(private_documents, private_documents.c.document_id == drawn_on.c.document_id)
        mine = drawn_on.c.conversation_id == conversation_id, drawn_on.c.owner == scope.user
        query = select(drawn_on.c.document_id).select_from(held).where(*mine).limit(1)
        async with self._database.read() as connection:
            return (await connection.execute(query)).first() is not None

    async def marked(self, scope: Scope, conversation_id: str) -> bool | None:
        """Whether its owner said that it may leave, or that it may not; None where they said nothing."""
        query = select(marks.c.shareable).where(*_mine(scope, conversation_id))
        async with self._database.read() as connection:
            return (await connection.execute(query)).scalar_one_or_none()

    async def mark(self, scope: Scope, conversation_id: str) -> None:
        await self._say(scope, conversation_id, shareable=True)

    async def unmark(self, scope: Scope, conversation_id: str) -> None:
        """Private from now on, whatever else is set, and whoever agrees to a single question."""
        await self._say(scope, conversation_id, shareable=False)

    async def forget(self, connection: AsyncConnection, scope: Scope, conversation_id: str) -> int:
        mine = drawn_on.c.conversation_id == conversation_id, drawn_on.c.owner == scope.user
        await connection.execute(delete(drawn_on).where(*mine))
        gone = delete(marks).where(*_mine(scope, conversation_id))
        return (await connection.execute(gone)).rowcount

    async def _say(self, scope: Scope, conversation_id: str, *, shareable: bool) -> None:
        said = {"shareable": shareable, "marked_at": self._clock()}
        async with self._database.write() as connection:
            insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(marks)
            row = insert.values(conversation_id=conversation_id, owner=scope.user, **said)
            await connection.execute(row.on_conflict_do_update(index_elements=list(marks.primary_key), set_=said))


async def private_among(connection: AsyncConnection, documents: Iterable[str]) -> frozenset[str]:
    """Those of these documents that are marked private."""
    ids, found = list(dict.fromkeys(documents)), set[str]()
    for start in range(0, len(ids), MOST):
        column = private_documents.c.document_id
        found |= set((await connection.execute(select(column).where(column.in_(ids[start : start + MOST])))).scalars())
    return frozenset(found)


def is_private(document_id: ColumnElement[str]) -> ColumnElement[bool]:
    """Condition on a column of document ids."""
    return exists(select(1).where(private_documents.c.document_id == document_id))


def draws(
    connection: Connection, owner: str, conversation_id: str, documents: Sequence[str], retold: Sequence[str] = ()
) -> None:
    """Keep what an answer was made from, in the transaction that saves it. `retold`: conversations that it repeats."""
    found = dict.fromkeys(documents)
    if retold:
        told = select(drawn_on.c.document_id).where(drawn_on.c.conversation_id.in_(retold), drawn_on.c.owner == owner)
        found |= dict.fromkeys(connection.execute(told).scalars())
    rows = [{"conversation_id": conversation_id, "document_id": each, "owner": owner} for each in found]
    if rows:
        connection.execute(insert_missing(drawn_on, connection.dialect.name), rows)


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
    return marks.c.conversation_id == conversation_id, marks.c.owner == scope.user
