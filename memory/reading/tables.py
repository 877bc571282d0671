"""Which chunks a model has still to read, and what it claimed without its chunk stating it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table, Text

from aegis.database import Timestamp, metadata

readings = Table(
    "readings",
    metadata,
    Column("chunk_id", String(36), primary_key=True),
    Column("version_id", String(36), nullable=False, index=True),
    Column("ordinal", Integer, nullable=False),
    Column("collection", String(120), nullable=False),
    Column("owner", String(120), nullable=False),  # of the document: whose budget pays
    Column("state", String(12), nullable=False),  # memory.reading.queue.State
    Column("agreed", Boolean, nullable=False),  # whether its owner agreed to a paid model
    Column("attempts", Integer, nullable=False),
    Column("holder", String(64)),  # the process that has it in hand
    Column("not_before", Timestamp, nullable=False),
    Column("reason", Text),  # why it failed, or waits
    Column("model", String(200)),
    Column("calls", Integer, nullable=False),
    Column("tokens_in", Integer, nullable=False),
    Column("tokens_out", Integer, nullable=False),
    Column("nano_dollars", BigInteger, nullable=False),
    Index("ix_readings_state_not_before", "state", "not_before"),
)

quarantined = Table(
    "quarantined_facts",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("group_id", String(36), nullable=False, index=True),
    Column("collection", String(120), nullable=False),
    Column("episode_id", String(36), nullable=False, index=True),
    Column("version_id", String(36)),
    Column("subject", String(200), nullable=False),
    Column("relation", String(120), nullable=False),
    Column("object", String(200), nullable=False),
    Column("text", Text, nullable=False),  # the fact in the model's words
    Column("quote", Text, nullable=False),  # the sentence that comes closest; may be empty
    Column("reason", Text, nullable=False),
    Column("model", String(200), nullable=False),
    Column("at", Timestamp, nullable=False),
    Column("state", String(12), nullable=False, default="held"),  # memory.reading.quarantine.State
)
