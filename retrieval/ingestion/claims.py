"""Files in hand: who works on which, and that nobody else does.

A file is claimed by one process, by the number of the attempt, and that process says every few seconds that it still
has it. One that falls silent loses the file: it waits again, and whatever the silent one still writes is refused,
because each of its transactions first asks whether the file is still its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, func, or_, select, update

from aegis.database import Database
from retrieval.ingestion.file import File, as_file, files_where, is_file
from retrieval.ingestion.tables import OPEN, job_files, jobs
from retrieval.tables import NEVER, documents, versions

# Times a file is begun before it is held to be what stops the process. A server that is killed again and again, for
# whatever reason, has the last few files of a job in hand each time, so it takes more than a few.
ATTEMPTS = 8
SILENCE = timedelta(seconds=12)  # without a word from whoever has a file in hand
_NOTHING_SAID = {"code": None, "reason": None}
_HOLD = (
    select(job_files.c.ordinal)
    .where(
        job_files.c.job_id == bindparam("job"),
        job_files.c.ordinal == bindparam("file"),
        job_files.c.state == "running",
        job_files.c.worker == bindparam("holder"),
        job_files.c.attempts == bindparam("attempt"),
    )
    .with_for_update()
)


class Lost(Exception):
    """The file is not ours any more: its job was cancelled, or another process has taken it over."""


class Claims:
    """`holder` names this process among those that work on the same store."""

    def __init__(self, database: Database, holder: str, now: Callable[[], datetime]) -> None:
        self.database = database
        self._holder = holder
        self._now = now

    async def candidates(self, job_id: str, limit: int) -> list[tuple[File, bool]]:
        """The next files to work on, and whether each is what is visible already.

        Not those whose document has an earlier file that is not finished: versions follow each other in order.
        Files begun before come last, so that one that stops the process does not stop the others.
        """
        earlier = job_files.alias("earlier")
        before = or_(
            earlier.c.job_id < job_files.c.job_id,
            and_(earlier.c.job_id == job_files.c.job_id, earlier.c.ordinal < job_files.c.ordinal),
        )
        blocked = (
            select(earlier.c.job_id)
            .where(
                earlier.c.document_id == job_files.c.document_id,
                before,
                or_(earlier.c.state.in_(OPEN), earlier.c.version_id.is_not(None) & (earlier.c.state != "done")),
            )
            .exists()
        )
        current = and_(
            versions.c.document_id == job_files.c.document_id,
            versions.c.visible_from < NEVER,
            versions.c.visible_until == NEVER,
        )
        query = (
            select(job_files, jobs.c.owner, versions.c.content_hash, versions.c.title.label("had"), documents.c.tags)
            .join(jobs, jobs.c.id == job_files.c.job_id)
            .outerjoin(versions, current)
            .outerjoin(documents, documents.c.id == job_files.c.document_id)
            .where(job_files.c.job_id == job_id, job_files.c.state == "queued", ~blocked)
            .order_by(job_files.c.attempts, job_files.c.ordinal)
            .limit(limit)
        )
        async with self.database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [(as_file(row), _unchanged(row)) for row in rows]

    async def take(self, unchanged: Sequence[File], file: File | None) -> bool:
        """Finish the files that are as they were, and begin the next one; False when another process was faster."""
        begun = {
            "state": "running",
            "stage": "reading",
            "worker": self._holder,
            "beat_at": self._now(),
            **_NOTHING_SAID,
        }
        async with self.database.write() as connection:
            if unchanged:
                here = and_(
                    job_files.c.job_id == unchanged[0].job_id,
                    job_files.c.ordinal.in_([same.ordinal for same in unchanged]),
                    job_files.c.state == "queued",
                )
                await connection.execute(
                    update(job_files).where(here).values(state="unchanged", stage=None, **_NOTHING_SAID)
                )
            if file is None:
                return False
            waiting = and_(is_file(file), job_files.c.state == "queued", job_files.c.attempts == file.attempts)
            taken = update(job_files).where(waiting).values(**begun, attempts=file.attempts + 1)
            return (await connection.execute(taken)).rowcount == 1

    async def beat(self, files: Mapping[File, str]) -> None:
        """They are still being worked on: each with its stage."""
        async with self.database.write() as connection:
            for file, stage in files.items():
                here = and_(is_file(file), self._ours(file))
                await connection.execute(update(job_files).where(here).values(stage=stage, beat_at=self._now()))

    async def take_back(self, job_id: str, *, own: bool = False) -> list[File]:
        """Files whose process has fallen silent wait again; those begun too often are returned, to be failed.

        `own`: also those in hand under this process's own name, which an earlier process with that name had begun.
        """
        silent = or_(job_files.c.worker.is_(None), job_files.c.beat_at < self._now() - SILENCE)
        mine = job_files.c.worker == self._holder
        gone = and_(job_files.c.job_id == job_id, job_files.c.state == "running", or_(silent, mine) if own else silent)
        poison = await files_where(self.database, and_(gone, job_files.c.attempts >= ATTEMPTS))
        again = and_(gone, job_files.c.attempts < ATTEMPTS)
        async with self.database.write() as connection:
            await connection.execute(update(job_files).where(again).values(state="queued", stage=None, worker=None))
        return poison

    async def let_go(self, job_id: str) -> None:
        """Files in hand here wait again; they are taken to be innocent."""
        mine = and_(job_files.c.job_id == job_id, job_files.c.state == "running", job_files.c.worker == self._holder)
        fewer = case((job_files.c.attempts > 0, job_files.c.attempts - 1), else_=0)
        async with self.database.write() as connection:
            await connection.execute(
                update(job_files).where(mine).values(state="queued", stage=None, worker=None, attempts=fewer)
            )

    async def waiting(self, limit: int) -> list[str]:
        """Jobs that have files to take, oldest first."""
        ready = and_(job_files.c.job_id == jobs.c.id, job_files.c.state == "queued")
        going = and_(jobs.c.state.in_(("queued", "running")), jobs.c.cancelling.is_(False))
        query = select(jobs.c.id).where(going, select(job_files.c.ordinal).where(ready).exists())
        async with self.database.read() as connection:
            return [row[0] for row in await connection.execute(query.order_by(jobs.c.id).limit(limit))]

    async def going(self, job_ids: Sequence[str]) -> set[str]:
        """Those of them that are neither ended nor to be cancelled."""
        going = and_(jobs.c.state.in_(("queued", "running")), jobs.c.cancelling.is_(False))
        query = select(jobs.c.id).where(jobs.c.id.in_(list(job_ids)), going)
        async with self.database.read() as connection:
            return {row[0] for row in await connection.execute(query)}

    async def queued(self, job_id: str) -> bool:
        query = select(func.count()).where(job_files.c.job_id == job_id, job_files.c.state == "queued")
        async with self.database.read() as connection:
            return bool((await connection.execute(query)).scalar_one())

    # Within a transaction that writes a version

    def hold(self, connection: Connection, file: File) -> None:
        """The file stays ours until the transaction ends. Raises Lost."""
        given = {"job": file.job_id, "file": file.ordinal, "holder": self._holder, "attempt": file.attempts + 1}
        if connection.execute(_HOLD, given).first() is None:
            raise Lost

    def writing(self, connection: Connection, file: File, version: str) -> None:
        connection.execute(update(job_files).where(is_file(file)).values(version_id=version, stage="writing"))

    def wrote(self, connection: Connection, file: File, chunks: int) -> None:
        written = {"state": "written", "stage": "publishing", "chunks": chunks, "worker": None}
        connection.execute(update(job_files).where(is_file(file)).values(**written))

    # Coming to nothing

    async def failed(self, file: File, code: str, reason: str) -> None:
        await self._end(file, state="failed", stage=None, code=code, reason=reason, chunks=0)

    async def put_back(self, file: File, code: str, reason: str) -> None:
        """It waits again, for this reason."""
        await self._end(file, state="queued", stage=None, attempts=file.attempts, code=code, reason=reason)

    async def given_up(self, file: File, code: str, reason: str) -> None:
        """As `failed`, of a file that was begun too often, by whomever."""
        still = and_(is_file(file), job_files.c.state == "running", job_files.c.attempts == file.attempts)
        values = {"state": "failed", "stage": None, "code": code, "reason": reason, "chunks": 0, "worker": None}
        async with self.database.write() as connection:
            await connection.execute(update(job_files).where(still).values(**values))

    async def _end(self, file: File, **values: Any) -> None:
        async with self.database.write() as connection:
            mine = and_(is_file(file), self._ours(file))
            await connection.execute(update(job_files).where(mine).values(**values, worker=None))

    def _ours(self, file: File) -> ColumnElement[bool]:
        """In hand here, since the attempt that began with this row."""
        return and_(
            job_files.c.state == "running",
            job_files.c.worker == self._holder,
            job_files.c.attempts == file.attempts + 1,
        )


def _unchanged(row: Mapping[Any, Any]) -> bool:
    """The same bytes; a title or tags that are not stated are no change."""
    tags, had = row[job_files.c.tags], row[documents.c.tags]
    return (
        row["content_hash"] == row["blob"]
        and row["title"] in (None, row["had"])
        and (not tags or sorted(tags) == sorted(had))
    )
