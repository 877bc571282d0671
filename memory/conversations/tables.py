"""The tables of conversations. A turn's body may stand in an archive; then `archive` names it."""

from __future__ import annotations

from sqlalchemy import JSON, Column, ForeignKey, Index, Integer, String, Table, Text

from aegis.database import Timestamp, metadata

TURNS_TOPIC = "turns"  # outbox rows: {"turn": id} of a question that was committed

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
