"""Ingestion jobs and what became of their files."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from api.schemas import Answer


class FileAnswer(Answer):
    source: str
    state: str
    document_id: str | None
    chunks: int
    code: str | None
    reason: str | None
    stage: str | None
    warning: str | None  # it was taken in, but: "12 of 40 pages have no text"


class JobAnswer(Answer):
    job_id: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    files: int
    done: int
    chunks: int
    unchanged: int
    failures: list[FileAnswer]
    warnings: list[FileAnswer]
    waits: FileAnswer | None
    seconds_left: float | None
    created_at: datetime
    updated_at: datetime


class JobsAnswer(Answer):
    jobs: list[JobAnswer]
    next: str | None


class FilesAnswer(Answer):
    reports: list[FileAnswer]
    next: str | None
