"""Conversations and their turns. One record serves history, evals, the page and debugging.

A turn is committed twice: with its question before it runs, with its answer when it is done; a crash in between
leaves a turn in state `running`, which is shown as interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from sqlalchemy import JSON, Column, ForeignKey, Index, Integer, String, Table, Text

from aegis.database import Timestamp, metadata
from aegis.scope import Scope

conversations = Table(
    "conversations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("owner", String(120), nullable=False),
    Column("title", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Index("ix_conversations_owner_updated", "owner", "updated_at"),
)

turns = Table(
    "turns",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("conversation_id", ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("state", String(12), nullable=False),
    Column("question", Text, nullable=False),
    Column("answer", Text, nullable=False),
    Column("record", JSON, nullable=False),  # the rest of `Turn`
    Column("feedback", JSON),
    Column("created_at", Timestamp, nullable=False),
    Index("ix_turns_conversation_ordinal", "conversation_id", "ordinal", unique=True),
)

TurnState = Literal["running", "done", "failed", "stopped"]


@dataclass(frozen=True, slots=True)
class Citation:
    """`quote == document_text[start:end]`. `support` is the share of the cited sentence's content words in the quote."""

    marker: int
    document_id: str
    version_id: str
    chunk_id: str
    source: str
    title: str
    start: int
    end: int
    quote: str
    support: float
    page: str | None = None
    heading: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    id: str
    conversation_id: str
    question: str
    state: TurnState = "running"
    answer: str = ""
    abstained: bool = False
    standalone: str = ""
    route: str = ""
    citations: tuple[Citation, ...] = ()
    chunk_ids: tuple[str, ...] = ()
    fact_ids: tuple[str, ...] = ()
    mode: str = "hybrid"
    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    epoch: int = 0
    timings: Mapping[str, float] = field(default_factory=dict[str, float])  # node -> milliseconds
    steps: tuple[Mapping[str, Any], ...] = ()  # what each node found, as the page showed it
    notes: tuple[str, ...] = ()  # what the reader should know: a store out of reach, no model configured
    feedback: Mapping[str, Any] | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    id: str
    owner: str
    title: str
    created_at: datetime
    updated_at: datetime


class Conversations(Protocol):
    """The port. Another user's conversation is NotFound, never Forbidden. Adapter: `SqlConversations` below."""

    async def begin(self, scope: Scope, turn: Turn) -> None:
        """Commit the question; makes the conversation when it is new, its title from the question."""
        ...

    async def finish(self, scope: Scope, turn: Turn) -> None:
        """Commit the whole turn, whether or not it was begun; idempotent."""
        ...

    async def history(self, scope: Scope, conversation_id: str, *, last: int | None = None) -> list[Turn]:
        """Turns in order; only the last few when asked. An unknown conversation has none."""
        ...

    async def get(self, scope: Scope, conversation_id: str) -> Conversation: ...

    async def list(self, scope: Scope, *, before: str = "", limit: int = 50) -> Sequence[Conversation]:
        """Newest first; `before` is the cursor of the page before."""
        ...
