"""What is told of ingestion jobs and their files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, func, outerjoin, select
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database import Database
from aegis.errors import NotFound
from aegis.scope import Scope
from retrieval.ingestion import FileReport, Job
from retrieval.ingestion.tables import ENDED, FINAL, RECEIVING, job_files, jobs
from retrieval.tables import versions

FAILURES = 200  # reports that a Job carries, at most


class JobReports:
    """A user sees the jobs that this user has sent."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def job(self, scope: Scope, job_id: str) -> Job:
        found = await self._jobs(and_(jobs.c.id == job_id, jobs.c.owner == scope.user), 1)
        if not found:
            raise NotFound(f"There is no job {job_id}.", job_id=job_id)
        return found[0]

    async def jobs(self, scope: Scope, limit: int, before: str = "") -> list[Job]:
        """Newest first, which is the order of ids."""
        mine = jobs.c.owner == scope.user
        return await self._jobs(and_(mine, jobs.c.id < before) if before else mine, limit)

    async def reports(self, scope: Scope, job_id: str, after: int = 0, limit: int | None = None) -> list[FileReport]:
        """In the order of the files; a page of them, where it ends by `limit`."""
        await self.job(scope, job_id)
        place = job_files.c.ordinal
        query = _reported().where(job_files.c.job_id == job_id, place >= after).order_by(place).limit(limit)
        async with self._database.read() as connection:
            return [_report(row) for row in (await connection.execute(query)).mappings()]

    async def last_report(self, scope: Scope, document_id: str) -> FileReport | None:
        """The newest job's, of the file that this document is made of; None where this user sent none."""
        mine = and_(job_files.c.document_id == document_id, jobs.c.owner == scope.user)
        query = select(job_files).join(jobs, jobs.c.id == job_files.c.job_id).where(mine)
        async with self._database.read() as connection:
            row = (await connection.execute(query.order_by(job_files.c.job_id.desc()).limit(1))).mappings().first()
        return None if row is None else _report(row)

    async def _jobs(self, condition: ColumnElement[bool], limit: int) -> list[Job]:
        query = select(jobs).where(condition, jobs.c.state != RECEIVING).order_by(jobs.c.id.desc()).limit(limit)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
            return [await self._as_job(connection, row) for row in rows]

    async def _as_job(self, connection: AsyncConnection, row: Any) -> Job:
        of = {"job": row["id"]}
        found = {state: (n, chunks) for state, n, chunks in await connection.execute(_COUNTED, of)}
        failures = (await connection.execute(_FAILED, of)).mappings().all() if "failed" in found else []
        waits = (await connection.execute(_WAITS, of)).mappings().first() if row["state"] not in ENDED else None
        warned = (await connection.execute(_WARNED, of)).mappings().all()
        return Job(
            id=row["id"],
            state=row["state"],
            files=sum(n for n, _ in found.values()),
            done=sum(n for state, (n, _) in found.items() if state in FINAL),
            chunks=int(sum(chunks or 0 for _, chunks in found.values())),
            unchanged=found.get("unchanged", (0, 0))[0],
            failures=[_report(failure) for failure in failures],
            warnings=[_report(warning) for warning in warned],
            waits=None if waits is None else _report(waits),
            seconds_left=row["seconds_left"],
            created_at=row["created_at"],
            updated_at=row["updated_at"],
        )


def _reported() -> Any:
    """Files with what is known of the text that was read of them."""
    read = outerjoin(job_files, versions, versions.c.id == job_files.c.version_id)
    return select(job_files, versions.c.verdict).select_from(read)


# Made once: progress is asked for several times a second, and to build a statement costs more than to run it.
_MINE = job_files.c.job_id == bindparam("job")
_COUNTED = (
    select(job_files.c.state, func.count(), func.sum(job_files.c.chunks)).where(_MINE).group_by(job_files.c.state)
)
_FAILED = select(job_files).where(_MINE, job_files.c.state == "failed").order_by(job_files.c.ordinal).limit(FAILURES)
_WAITS = select(job_files).where(_MINE, job_files.c.state == "queued", job_files.c.reason.is_not(None)).limit(1)
_WARNED = (
    _reported()
    .where(_MINE, versions.c.verdict["warning"].as_string().is_not(None))
    .order_by(job_files.c.ordinal)
    .limit(FAILURES)
)


def _report(row: Mapping[Any, Any]) -> FileReport:
    return FileReport(
        source=row["source"],
        state=row["state"],
        document_id=row["document_id"],
        chunks=row["chunks"],
        code=row["code"],
        reason=row["reason"],
        stage=row["stage"],
        warning=(row.get("verdict") or {}).get("warning"),
    )
