"""Lanes: the files of a job, each read, embedded and written, by whichever process has a hand free.

Several lanes per job, so that one file is read (in its own process) while another is embedded and written. The server
runs them, and so does every `aegis worker`; who has which file is `claims.py`'s business. A lane stops between two
transactions; only a file that has made no step for long is cut off wherever it is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from aegis import telemetry
from aegis.errors import AegisError, BudgetExhausted, InvalidInput, ModelBusy, Unavailable
from aegis.settings import IngestionSettings
from retrieval.ingestion.claims import ATTEMPTS, Claims, Lost
from retrieval.ingestion.file import File
from retrieval.ingestion.leftovers import Leftovers
from retrieval.ingestion.preparing import Prepared
from retrieval.ingestion.reading import Reader
from retrieval.ingestion.versions import Target, Versions

LOOK_AHEAD = 20  # files looked at for the next one to work on
MONEY = 60.0  # seconds between looks whether a spent budget has room again

logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class Stopped(Exception):
    """The job is to stop here."""


class _Stalled(Exception):
    """A file made no step for too long."""


@dataclass(slots=True)
class Run:
    """A job at work in this process."""

    job_id: str
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    choosing: asyncio.Lock = field(default_factory=asyncio.Lock)
    ahead: list[tuple[File, bool]] = field(default_factory=list[tuple[File, bool]])  # looked at, not yet taken
    stages: dict[File, str] = field(default_factory=dict[File, str])  # of the files in hand
    began: float = field(default_factory=time.monotonic)
    done_before: int | None = None  # bytes finished when this run began
    task: asyncio.Task[None] | None = None

    def check(self) -> None:
        if self.stop.is_set():
            raise Stopped

    async def or_stop(self, work: Awaitable[_Result]) -> _Result:
        """Work that may be cut off at any moment; never a transaction."""
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self.stop.wait())
        try:
            await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Stopped
            return task.result()
        finally:
            stop.cancel()
            task.cancel()


class Lanes:
    """`written` is told each file that is written whole, `news` that one was, or that a lane has come to rest."""

    def __init__(
        self,
        claims: Claims,
        versions: Versions,
        reader: Reader,
        leftovers: Leftovers,
        settings: IngestionSettings,
        written: Callable[[File], None] = lambda _file: None,
        news: Callable[[], None] = lambda: None,
    ) -> None:
        self.claims = claims
        self.reader = reader
        self.busy = 0  # lanes that may write something soon
        self._versions = versions
        self._leftovers = leftovers
        self._settings = settings
        self._written = written
        self._news = news

    async def work(self, run: Run) -> None:
        """Returns when no file of the job is left to take. Raises Stopped, AegisError."""
        lanes = self._settings.workers + 1 if self._settings.workers else 0
        for error in await asyncio.gather(*(self._lane(run) for _ in range(lanes)), return_exceptions=True):
            if error is not None:
                raise error

    async def beat(self, run: Run) -> None:
        """Say that the files in hand are being worked on."""
        if run.stages:
            await self.claims.beat(dict(run.stages))

    async def take_back(self, job_id: str, *, own: bool = False) -> None:
        """Files that a process left lying wait again."""
        for poison in await self.claims.take_back(job_id, own=own):
            reason = (
                f"{poison.source} was begun {ATTEMPTS} times and the process that worked on it ended each time. "
                "Look at the file and at the machine's memory, then ingest it again."
            )
            await self.claims.given_up(poison, "unreadable_document", reason)
            telemetry.FILES.labels(outcome="failed").inc()
            await self._leftovers.clear()

    async def _lane(self, run: Run) -> None:
        pause = 0.1
        self.busy += 1
        try:
            while True:
                run.check()
                file = await self._next(run)
                if file is not None:
                    asked = await self._file(run, file)
                    pause = 0.1 if asked is None else max(asked, min(10.0, pause * 2))
                elif not await self.claims.queued(run.job_id):
                    return
                if file is None or pause > 0.1:  # an earlier file of the same document, or a backend that is away
                    self._news()
                    await self._idle(run, pause)
        finally:
            self.busy -= 1
            self._news()

    async def _idle(self, run: Run, seconds: float) -> None:
        self.busy -= 1
        try:
            await run.or_stop(asyncio.sleep(seconds))
        finally:
            self.busy += 1

    async def _next(self, run: Run) -> File | None:
        """A file to work on, those that are unchanged being finished on the way; None when there is none just now."""
        async with run.choosing:
            while True:
                if not run.ahead:
                    run.ahead = await self.claims.candidates(run.job_id, LOOK_AHEAD)
                if not run.ahead:
                    return None
                unchanged: list[File] = []
                while run.ahead and run.ahead[0][1]:
                    unchanged.append(run.ahead.pop(0)[0])
                file = run.ahead.pop(0)[0] if run.ahead else None
                taken = await self.claims.take(unchanged, file)
                telemetry.FILES.labels(outcome="unchanged").inc(len(unchanged))
                if file is not None and taken:
                    return file

    async def _file(self, run: Run, file: File) -> float | None:
        """Where something it needs is away, the file waits again: for how many seconds at least."""
        run.stages[file] = "reading"
        try:
            await self._ingest(run, file)
        except Lost:
            logger.info("%s is not in hand here any more", file.source)
        except InvalidInput as error:
            await self._fail(file, error.code, error.message)
        except _Stalled as stalled:
            await self._fail(file, "stalled", str(stalled))
        except Unavailable as error:
            logger.warning("%s waits: %s", file.source, error)
            await self.claims.put_back(file, error.code, error.message)
            return _patience(error)
        except AegisError as error:
            await self._fail(file, error.code, error.message)
        except Stopped:
            raise
        except Exception as error:
            logger.exception("%s cannot be taken in", file.source)
            await self._fail(file, "internal", f"{file.source} could not be taken in: {type(error).__name__}: {error}")
        finally:
            run.stages.pop(file, None)
        return None

    async def _ingest(self, run: Run, file: File) -> None:
        prepared = await run.or_stop(self.reader.read(file.blob, file.source, file.title))
        async with self._moving(run, file) as step:
            await self._write(file, prepared, step)

    async def _write(self, file: File, prepared: Prepared, step: Callable[[str], None]) -> None:
        step("embedding")
        version = await self._versions.next_id(file.document_id, file.blob)
        target = Target(file.document_id, file.owner, file.collection, file.source, file.tags, file.blob)
        count = len({piece.span for piece in prepared.pieces})
        await self._versions.write(
            target,
            version,
            prepared,
            hold=lambda connection: self.claims.hold(connection, file),
            first=lambda connection: self.claims.writing(connection, file, version),
            last=lambda connection: self.claims.wrote(connection, file, count),
            step=step,
            begun=file.version_id is not None,
        )
        self._written(replace(file, version_id=version))
        self._news()

    @asynccontextmanager
    async def _moving(self, run: Run, file: File) -> AsyncGenerator[Callable[[str], None]]:
        """What to call before each step; the file is failed when none comes for too long."""
        allowed, loop = self._settings.stall_deadline, asyncio.get_running_loop()
        bound = asyncio.timeout(allowed)

        def step(name: str) -> None:
            run.check()
            run.stages[file] = name
            bound.reschedule(loop.time() + allowed)

        try:
            async with bound:
                yield step
        except TimeoutError as error:
            if not bound.expired():
                raise
            raise _Stalled(
                f"{file.source} made no step for {allowed:g} s while {run.stages[file]} and was stopped. Look at the "
                "embedder and the store, then: aegis jobs JOB --retry. "
                "The bound is AEGIS_INGESTION__STALL_DEADLINE."
            ) from error

    async def _fail(self, file: File, code: str, reason: str) -> None:
        await self.claims.failed(file, code, reason)
        telemetry.FILES.labels(outcome="failed").inc()
        await self._leftovers.clear()


def _patience(error: Unavailable) -> float:
    """What is said to last is not asked every few seconds."""
    if isinstance(error, BudgetExhausted):
        return MONEY
    return error.retry_after if isinstance(error, ModelBusy) else 0.0
