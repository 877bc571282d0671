"""The job table: the truth about every ingestion job and its files.

A job is led by whoever holds its lease; its files are read and written by any process that claims them (`claims.py`),
and published by the leader, under states that survive the process. `intake.py` takes jobs in, `runner.py` leads them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    outerjoin,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database import NAMES_BLOB, Database, Timestamp, metadata
from aegis.errors import Conflict, NotFound
from aegis.scope import Scope
from retrieval.ingestion import FileReport, FileState, Job, JobState
from retrieval.tables import versions

LEASE = timedelta(seconds=30)
ROWS = 200  # file rows of one transaction
FAILURES = 200  # reports that a Job carries, at most
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


class JobTable:
    """`holder` names this process among those that work on the same store."""

    def __init__(self, database: Database, holder: str, now: Callable[[], datetime]) -> None:
        self.database = database
        self.now = now
        self.holder = holder

    async def add(self, job_id: str, owner: str, files: Sequence[Mapping[str, Any]]) -> None:
        now = self.now()
        async with self.database.write() as connection:
            await connection.execute(
                insert(jobs).values(
                    id=job_id, owner=owner, state=RECEIVING, cancelling=False, created_at=now, updated_at=now
                )
            )
        for start in range(0, len(files), ROWS):
            async with self.database.write() as connection:
                await connection.execute(insert(job_files), [dict(row) for row in files[start : start + ROWS]])
        async with self.database.write() as connection:
            await connection.execute(update(jobs).where(jobs.c.id == job_id).values(state="queued"))

    async def waiting(self) -> int:
        """Files that are still to be worked on, in all jobs."""
        query = select(func.count()).select_from(job_files).where(job_files.c.state.in_(("queued", "running")))
        query = query.join(jobs, jobs.c.id == job_files.c.job_id).where(jobs.c.state.in_(("queued", "running")))
        async with self.database.read() as connection:
            return int((await connection.execute(query)).scalar_one())

    # Leases

    async def claim(self, limit: int, mine: Collection[str]) -> list[str]:
        """Take up to `limit` jobs that nobody works on, oldest first; `mine` are those at work here."""
        free = and_(
            jobs.c.state.in_(("queued", "running")),
            or_(jobs.c.holder.is_(None), jobs.c.holder == self.holder, jobs.c.lease_until < self.now()),
            jobs.c.id.not_in(list(mine)),
        )
        async with self.database.read() as connection:
            query = select(jobs.c.id).where(free).order_by(jobs.c.id).limit(limit)
            found = [row[0] for row in await connection.execute(query)]
        return [job_id for job_id in found if await self._taken(job_id, free)]

    async def extend(self, mine: Collection[str]) -> dict[str, bool]:
        """Keep the leases; those still held, and whether each is to be cancelled."""
        held = and_(jobs.c.id.in_(list(mine)), jobs.c.holder == self.holder)
        async with self.database.write() as connection:
            await connection.execute(update(jobs).where(held).values(lease_until=self.now() + LEASE))
        return await self.held(mine)

    async def held(self, mine: Collection[str]) -> dict[str, bool]:
        query = select(jobs.c.id, jobs.c.cancelling).where(jobs.c.id.in_(list(mine)), jobs.c.holder == self.holder)
        async with self.database.read() as connection:
            return {row[0]: bool(row[1]) for row in await connection.execute(query)}

    async def release(self, job_id: str) -> None:
        """Give an unfinished job back."""
        mine = and_(jobs.c.id == job_id, jobs.c.holder == self.holder)
        async with self.database.write() as connection:
            await connection.execute(update(jobs).where(mine).values(holder=None, lease_until=None))

    async def _taken(self, job_id: str, free: ColumnElement[bool]) -> bool:
        now = self.now()
        async with self.database.write() as connection:
            done = await connection.execute(
                update(jobs)
                .where(jobs.c.id == job_id, free)
                .values(holder=self.holder, lease_until=now + LEASE, state="running", updated_at=now)
            )
        return done.rowcount == 1

    # Working on a job

    async def written(self, job_id: str) -> list[File]:
        return await self._files(and_(job_files.c.job_id == job_id, job_files.c.state == "written"))

    async def left(self, job_id: str, states: Sequence[FileState]) -> int:
        query = select(func.count()).where(job_files.c.job_id == job_id, job_files.c.state.in_(states))
        async with self.database.read() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def done(self, files: Sequence[File]) -> None:
        for start in range(0, len(files), ROWS):
            ours = or_(*(is_file(file) for file in files[start : start + ROWS]))
            async with self.database.write() as connection:
                await connection.execute(update(job_files).where(ours).values(state="done", stage=None))

    async def estimate(self, job_id: str, seconds: float | None) -> None:
        async with self.database.write() as connection:
            mine = jobs.c.id == job_id
            await connection.execute(update(jobs).where(mine).values(seconds_left=seconds, updated_at=self.now()))

    async def bytes_left(self, job_id: str) -> tuple[int, int]:
        """(bytes of finished files, bytes of the others); a file counts some bytes for being one."""
        size = job_files.c.size + 2000
        finished = job_files.c.state.in_((*FINAL, "written"))
        query = select(func.sum(case((finished, size), else_=0)), func.sum(case((finished, 0), else_=size)))
        async with self.database.read() as connection:
            done, left = (await connection.execute(query.where(job_files.c.job_id == job_id))).one()
        return int(done or 0), int(left or 0)

    async def close(self, job_id: str) -> None:
        """All files are finished: `failed` if each of them failed, otherwise `done`."""
        other = select(job_files.c.ordinal).where(job_files.c.job_id == job_id, job_files.c.state != "failed").exists()
        async with self.database.write() as connection:
            await connection.execute(
                update(jobs)
                .where(jobs.c.id == job_id)
                .values(state=case((other, "done"), else_="failed"), **self._ended())
            )

    async def retry(self, scope: Scope, job_id: str) -> None:
        """Failed files wait again. Not those whose original was not taken, nor those that a later job has read since.

        Raises NotFound, and Conflict while the job runs or when there is no such file.
        """
        job = await self.job(scope, job_id)
        if job.state not in ENDED:
            raise Conflict(f"Job {job_id} is still {job.state}; its files can be retried when it has ended.")
        later = job_files.alias("later")
        since = select(later.c.job_id).where(
            later.c.document_id == job_files.c.document_id, later.c.job_id > job_files.c.job_id
        )
        failed = and_(
            job_files.c.job_id == job_id,
            job_files.c.state == "failed",
            job_files.c.blob.is_not(None),
            ~since.exists(),
        )
        again = {"state": "queued", "stage": None, "attempts": 0, "code": None, "reason": None}
        async with self.database.write() as connection:
            found = (await connection.execute(update(job_files).where(failed).values(**again))).rowcount
            if found:
                waiting = {"state": "queued", "cancelling": False, "holder": None, "lease_until": None}
                await connection.execute(
                    update(jobs).where(jobs.c.id == job_id).values(**waiting, updated_at=self.now())
                )
        if not found:
            raise Conflict(f"Job {job_id} has no file to retry: none failed, or a later job has taken it in since.")

    # Cancelling

    async def ask_to_cancel(self, job_id: str) -> None:
        going = and_(jobs.c.id == job_id, jobs.c.state.not_in(ENDED))
        async with self.database.write() as connection:
            await connection.execute(update(jobs).where(going).values(cancelling=True, updated_at=self.now()))

    async def unattended(self, job_id: str) -> bool:
        """Nobody else works on it."""
        query = select(jobs.c.id).where(
            jobs.c.id == job_id,
            or_(jobs.c.holder.is_(None), jobs.c.holder == self.holder, jobs.c.lease_until < self.now()),
        )
        async with self.database.read() as connection:
            return (await connection.execute(query)).first() is not None

    async def cancel(self, job_id: str, publishing: Sequence[File]) -> None:
        """End the job. Its files that are not visible yet end with it, but for those being published right now."""
        mine = and_(job_files.c.job_id == job_id, job_files.c.state.in_(OPEN))
        kept = job_files.c.ordinal.not_in([file.ordinal for file in publishing if file.job_id == job_id])
        going = and_(jobs.c.id == job_id, jobs.c.state.not_in(ENDED))
        async with self.database.write() as connection:
            await connection.execute(
                update(job_files).where(mine, kept).values(state="cancelled", stage=None, chunks=0, worker=None)
            )
            await connection.execute(update(jobs).where(going).values(state="cancelled", **self._ended()))

    async def leftovers(self, limit: int = 100) -> list[File]:
        """Files that failed or were cancelled, whose version is still to be taken away."""
        return await self._files(
            and_(job_files.c.state.in_(("failed", "cancelled")), job_files.c.version_id.is_not(None)), limit
        )

    async def stranded(self) -> list[File]:
        """Files of ended jobs that were being published when everything stopped."""
        return await self._files(and_(jobs.c.state.in_(ENDED), job_files.c.state == "written"))

    async def cleared(self, file: File) -> None:
        async with self.database.write() as connection:
            await connection.execute(update(job_files).where(is_file(file)).values(version_id=None))

    async def forget_unfinished(self) -> None:
        """Jobs whose submission was cut off: nobody was told of them."""
        old = and_(jobs.c.state == RECEIVING, jobs.c.created_at < self.now() - timedelta(hours=1))
        async with self.database.write() as connection:
            await connection.execute(delete(jobs).where(old))

    # Reading

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
        async with self.database.read() as connection:
            return [_report(row) for row in (await connection.execute(query)).mappings()]

    async def last_report(self, scope: Scope, document_id: str) -> FileReport | None:
        """The newest job's, of the file that this document is made of; None where this user sent none."""
        mine = and_(job_files.c.document_id == document_id, jobs.c.owner == scope.user)
        query = select(job_files).join(jobs, jobs.c.id == job_files.c.job_id).where(mine)
        async with self.database.read() as connection:
            row = (await connection.execute(query.order_by(job_files.c.job_id.desc()).limit(1))).mappings().first()
        return None if row is None else _report(row)

    async def _jobs(self, condition: ColumnElement[bool], limit: int) -> list[Job]:
        query = select(jobs).where(condition, jobs.c.state != RECEIVING).order_by(jobs.c.id.desc()).limit(limit)
        async with self.database.read() as connection:
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

    async def _files(self, condition: ColumnElement[bool], limit: int = 1_000_000) -> list[File]:
        return await files_where(self.database, condition, limit)

    def _ended(self) -> dict[str, Any]:
        return {"holder": None, "lease_until": None, "seconds_left": None, "updated_at": self.now()}


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
