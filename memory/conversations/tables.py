"""The tables of conversations. A turn's body may stand in an archive; then `archive` names it."""

from __future__ import annotations

from sqlalchemy import JSON, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text

from aegis.database import NAMES_BLOB, Timestamp, metadata

TURNS_TOPIC = "turns"  # outbox rows: {"turn": id} of a question that was committed and states something

conversations = Table(
    "conversations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("owner", String(120), nullable=False),
    Column("title", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column(
        "version", Integer, nullable=False, default=0
    ),  # grows whenever what was said in it changes, with each turn at least by one
    Column("summary", Text, nullable=False, default=""),  # of the turns up to `summed`, where a model writes one
    Column("summed", Integer, nullable=False, default=0),  # an ordinal
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
    Column("archive", String(64)),  # the blob that question, answer and record stand in, then empty here
    Column("created_at", Timestamp, nullable=False),
    Index("ix_turns_conversation_ordinal", "conversation_id", "ordinal", unique=True),
)

# Blobs that archived bodies stand in. A row is there before its blob and goes after it, so that no blob is left over.
archives = Table(
    "turn_archives",
    metadata,
    Column("digest", String(64), primary_key=True, info=NAMES_BLOB),
    Column("conversation_id", String(36), nullable=False, index=True),
    Column("state", String(8), nullable=False, index=True),  # writing | kept | doomed
    Column("turns", Integer, nullable=False),
    Column("size", Integer, nullable=False),  # bytes
    Column("written_at", Timestamp, nullable=False),
)

vectors = Table(
    "turn_vectors",
    metadata,
    Column("turn_id", ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True),
    Column("owner", String(120), nullable=False),
    Column("conversation_id", String(36), nullable=False),
    Column("encoder", String(80), nullable=False),
    Column("dense", LargeBinary, nullable=False),  # float16
    Column("terms", LargeBinary, nullable=False),  # uint32
    Column("weights", LargeBinary, nullable=False),  # float16, one for each term
    Column("written_at", Timestamp, nullable=False),
    Index("ix_turn_vectors_owner_written", "owner", "written_at"),
)

# Turns that `vectors` does not have yet, written in the transaction that finished them.
unindexed = Table(
    "turns_unindexed",
    metadata,
    Column("turn_id", ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True),
    Column("owner", String(120), nullable=False, index=True),
)
