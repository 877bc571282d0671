"""The tables of ingestion jobs and their files, and the states these go through."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, String, Table, Text

from aegis.database import NAMES_BLOB, Timestamp, metadata
from retrieval.ingestion import FileState, JobState

RECEIVING = "receiving"  # state of a job whose rows are still being written; seen by nobody

FINAL: tuple[FileState, ...] = ("done", "unchanged", "failed", "cancelled")
OPEN: tuple[FileState, ...] = ("queued", "running", "written")
ENDED: tuple[JobState, ...] = ("done", "failed", "cancelled")

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("owner", String(120), nullable=False),
    Column("state", String(12), nullable=False),
    Column("cancelling", Boolean, nullable=False),
    Column("holder", String(64)),
    Column("lease_until", Timestamp),
    Column("seconds_left", Float),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Index("ix_jobs_owner_id", "owner", "id"),
    Index("ix_jobs_state", "state"),
)

job_files = Table(
    "job_files",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("source", Text, nullable=False),
    Column("collection", String(120), nullable=False),
    Column("document_id", String(36), nullable=False),
    Column("title", Text),
    Column("tags", JSON, nullable=False),
    Column("blob", String(64), info=NAMES_BLOB),  # sha256 of the bytes; None when they were not taken
    Column("size", BigInteger, nullable=False),
    Column("state", String(12), nullable=False),
    Column("stage", String(12)),
    Column("attempts", Integer, nullable=False),
    Column("worker", String(64)),  # the process that has it in hand
    Column("beat_at", Timestamp),  # when that process last said so
    Column("version_id", String(36)),  # written, or being written, or still to be taken away
    Column("chunks", Integer, nullable=False),
    Column("code", String(40)),
    Column("reason", Text),
    Index("ix_job_files_state", "job_id", "state", "attempts", "ordinal"),
    Index("ix_job_files_document", "document_id"),
)
