"""A file of a job, as whoever works on it has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, select

from aegis.database import Database
from retrieval.ingestion.tables import job_files, jobs


@dataclass(frozen=True, slots=True)
class File:
    """A file to work on."""

    job_id: str
    ordinal: int
    owner: str
    source: str
    collection: str
    document_id: str
    title: str | None
    tags: tuple[str, ...]
    blob: str
    attempts: int
    version_id: str | None

    @property
    def key(self) -> tuple[str, int]:
        return self.job_id, self.ordinal


def is_file(file: File) -> ColumnElement[bool]:
    return and_(job_files.c.job_id == file.job_id, job_files.c.ordinal == file.ordinal)


def as_file(row: Mapping[Any, Any]) -> File:
    return File(
        job_id=row["job_id"],
        ordinal=row["ordinal"],
        owner=row["owner"],
        source=row["source"],
        collection=row["collection"],
        document_id=row["document_id"],
        title=row["title"],
        tags=tuple(row[job_files.c.tags]),
        blob=row["blob"] or "",
        attempts=row["attempts"],
        version_id=row["version_id"],
    )


async def files_where(database: Database, condition: ColumnElement[bool], limit: int = 1_000_000) -> list[File]:
    query = select(job_files, jobs.c.owner).join(jobs, jobs.c.id == job_files.c.job_id).where(condition)
    query = query.order_by(job_files.c.job_id, job_files.c.ordinal).limit(limit)
    async with database.read() as connection:
        return [as_file(row) for row in (await connection.execute(query)).mappings()]
