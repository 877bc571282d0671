"""The job table: the truth about every ingestion job and its files.

A job is led by whoever holds its lease; its files are read and written by any process that claims them (`claims.py`),
and published by the leader, under states that survive the process. `intake.py` takes jobs in, `runner.py` leads them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, and_, case, delete, func, insert, or_, select, update

from aegis.database import Database
from aegis.errors import Conflict
from aegis.scope import Scope
from retrieval.ingestion import FileState
from retrieval.ingestion.file import File, files_where, is_file
from retrieval.ingestion.reports import JobReports
from retrieval.ingestion.tables import ENDED, FINAL, OPEN, RECEIVING, job_files, jobs

LEASE = timedelta(seconds=30)
ROWS = 200  # file rows of one transaction


class JobTable:
    """`holder` names this process among those that work on the same store."""

    def __init__(self, database: Database, holder: str, now: Callable[[], datetime]) -> None:
        self.database = database
        self.now = now
        self.holder = holder
        self.reports = JobReports(database)

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
        for job_id, group in groupby(files, key=lambda file: file.job_id):
            ordinals = [file.ordinal for file in group]
            for start in range(0, len(ordinals), ROWS):
                ours = and_(job_files.c.job_id == job_id, job_files.c.ordinal.in_(ordinals[start : start + ROWS]))
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
        job = await self.reports.job(scope, job_id)
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

    async def _files(self, condition: ColumnElement[bool], limit: int = 1_000_000) -> list[File]:
        return await files_where(self.database, condition, limit)

    def _ended(self) -> dict[str, Any]:
        return {"holder": None, "lease_until": None, "seconds_left": None, "updated_at": self.now()}
