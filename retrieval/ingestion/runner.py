"""Works on the jobs of the job table: reads, embeds, writes and publishes their files.

Several lanes per job, so that one file is read (in its own process) while another is embedded and written. What is
written waits for the next publication, which takes all of it at once. A running job stops between two transactions,
never inside one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from sqlalchemy import select

from aegis import telemetry
from aegis.database.signals import NoSignals, Signals
from aegis.errors import AegisError, InvalidInput, Unavailable
from aegis.settings import IngestionSettings
from retrieval.catalogue import NEVER, versions
from retrieval.ingestion.jobs import ATTEMPTS, File, JobTable
from retrieval.ingestion.publishing import Publisher
from retrieval.ingestion.reading import Reader
from retrieval.ingestion.versions import Target, Versions

SWEEP = 15.0  # seconds between looks for jobs without a live lease
PULSE = 2.0  # seconds between looks at what was asked of the running jobs
EXTEND = 5  # pulses between extensions of the leases
TOGETHER = 50  # files of one publication, aimed at
LINGER = 2.0  # seconds a written file waits for others, at most
LOOK_AHEAD = 20  # files looked at for the next one to work on
CANCEL_WAIT = 3.0  # seconds cancelling waits for a publication under way

logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class _Stopped(Exception):
    """The job is to stop here."""


@dataclass(slots=True)
class _Run:
    """A job at work in this process."""

    job_id: str
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    choosing: asyncio.Lock = field(default_factory=asyncio.Lock)
    ahead: list[tuple[File, bool]] = field(default_factory=list[tuple[File, bool]])  # looked at, not yet taken
    stages: dict[int, str] = field(default_factory=dict[int, str])
    began: float = field(default_factory=time.monotonic)
    done_before: int | None = None  # bytes finished when this run began
    task: asyncio.Task[None] | None = None

    def check(self) -> None:
        if self.stop.is_set():
            raise _Stopped

    async def or_stop(self, work: Awaitable[_Result]) -> _Result:
        """Work that may be cut off at any moment; never a transaction."""
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self.stop.wait())
        try:
            await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise _Stopped
            return task.result()
        finally:
            stop.cancel()
            task.cancel()


class Runner:
    def __init__(
        self,
        jobs: JobTable,
        versions: Versions,
        publisher: Publisher,
        reader: Reader,
        settings: IngestionSettings,
        signals: Signals | None = None,
    ) -> None:
        self._jobs = jobs
        self._signals = signals or NoSignals()
        self._versions = versions
        self._publisher = publisher
        self._reader = reader
        self._settings = settings
        self._runs: dict[str, _Run] = {}
        self._wake = asyncio.Event()
        self._written: list[File] = []
        self._publishing: Sequence[File] = ()
        self._news = asyncio.Event()  # something was written, or a lane has come to its end
        self._published = asyncio.Condition()
        self._busy = 0  # lanes that may write something soon
        self._closing = asyncio.Event()
        self._clearing = asyncio.Lock()
        self._signals.listen("jobs", self._wake.set)

    def wake(self) -> None:
        """There is a new job."""
        self._wake.set()
        self._signals.send("jobs")  # for whoever has a hand free

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        self._closing.clear()
        loops = [self._every(self._sweep, SWEEP), self._pulse(), self._publish_for_ever()]
        tasks = [asyncio.create_task(loop) for loop in loops]
        resting = asyncio.create_task(self._reader.rest())
        try:
            yield
        finally:
            self._closing.set()
            self._wake.set()
            self._news.set()
            await self._stop_all()
            resting.cancel()
            for task in tasks[2:]:
                task.cancel()
            await asyncio.gather(*tasks, resting, return_exceptions=True)
            await self._reader.stop()

    async def cancel(self, job_id: str) -> None:
        """Returns when the job has ended, or soon will where another replica works on it."""
        await self._jobs.ask_to_cancel(job_id)
        if await self._jobs.unattended(job_id):
            await self._cancel(job_id)

    # Jobs

    async def _sweep(self) -> None:
        await self._settle()
        free = self._settings.parallel_jobs - len(self._runs)
        for job_id in await self._jobs.claim(free, self._runs) if free > 0 else ():
            run = self._runs[job_id] = _Run(job_id)
            run.task = asyncio.create_task(self._work(run), name=f"job {job_id}")
        telemetry.WAITING.set(await self._jobs.waiting())

    async def _work(self, run: _Run) -> None:
        ended = False
        try:
            await self._resume(run)
            lanes = self._settings.workers + 1
            for error in await asyncio.gather(*(self._lane(run) for _ in range(lanes)), return_exceptions=True):
                if error is not None:
                    raise error
            await self._all_published(run)
            await self._jobs.close(run.job_id)
            ended = True
        except _Stopped:
            pass
        except AegisError as error:
            logger.warning("Job %s waits: %s", run.job_id, error)
        finally:
            if self._runs.get(run.job_id) is run:
                del self._runs[run.job_id]
        if ended:
            self._wake.set()

    async def _resume(self, run: _Run) -> None:
        if (await self._jobs.held([run.job_id])).get(run.job_id):  # asked before a crash
            await self._end(run.job_id)
            raise _Stopped
        for poison in await self._jobs.begin_again(run.job_id):
            await self._fail(
                poison,
                "unreadable_document",
                f"{poison.source} was begun {ATTEMPTS} times and the server ended each time. "
                "Look at the file and at the server's memory, then ingest it again.",
            )
        waiting = {file.key for file in (*self._written, *self._publishing)}
        self._written += [file for file in await self._jobs.written(run.job_id) if file.key not in waiting]
        self._news.set()

    async def _lane(self, run: _Run) -> None:
        pause = 0.1
        self._busy += 1
        try:
            while True:
                run.check()
                file = await self._next(run)
                if file is not None:
                    pause = 0.1 if await self._file(run, file) else min(10.0, pause * 2)
                elif await self._jobs.left(run.job_id, ("queued",)) == 0:
                    return
                if file is None or pause > 0.1:  # an earlier file of the same document, or a backend that is away
                    self._news.set()
                    await self._idle(run, pause)
        finally:
            self._busy -= 1
            self._news.set()

    async def _idle(self, run: _Run, seconds: float) -> None:
        self._busy -= 1
        try:
            await run.or_stop(asyncio.sleep(seconds))
        finally:
            self._busy += 1

    async def _next(self, run: _Run) -> File | None:
        """A file to work on, those that are unchanged being finished on the way; None when there is none just now."""
        async with run.choosing:
            while True:
                if not run.ahead:
                    run.ahead = await self._jobs.candidates(run.job_id, LOOK_AHEAD)
                if not run.ahead:
                    return None
                unchanged: list[File] = []
                while run.ahead and run.ahead[0][1]:
                    unchanged.append(run.ahead.pop(0)[0])
                file = run.ahead.pop(0)[0] if run.ahead else None
                await self._jobs.take(unchanged, file)
                telemetry.FILES.labels(outcome="unchanged").inc(len(unchanged))
                if file is not None:
                    return file

    async def _all_published(self, run: _Run) -> None:
        while await self._jobs.left(run.job_id, ("written",)):
            run.check()
            async with self._published:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._published.wait(), 0.5)

    # Files

    async def _file(self, run: _Run, file: File) -> bool:
        """False when something it needs is away; then it waits again."""
        try:
            await self._ingest(run, file)
        except InvalidInput as error:
            await self._fail(file, error.code, error.message)
        except Unavailable as error:
            logger.warning("%s waits: %s", file.source, error)
            await self._jobs.put_back(file)
            return False
        except AegisError as error:
            await self._fail(file, error.code, error.message)
        except _Stopped:
            raise
        except Exception as error:
            logger.exception("%s cannot be taken in", file.source)
            await self._fail(file, "internal", f"{file.source} could not be taken in: {type(error).__name__}: {error}")
        finally:
            run.stages.pop(file.ordinal, None)
        return True

    async def _ingest(self, run: _Run, file: File) -> None:
        def step(name: str) -> None:
            run.check()
            run.stages[file.ordinal] = name

        step("reading")
        prepared = await run.or_stop(self._reader.read(file.blob, file.source, file.title))
        version = await self._versions.next_id(file.document_id, file.blob)
        step("embedding")
        target = Target(file.document_id, file.owner, file.collection, file.source, file.tags, file.blob)
        count = len({piece.span for piece in prepared.pieces})
        await self._versions.write(
            target,
            version,
            prepared,
            first=lambda connection: self._jobs.writing(connection, file, version),
            last=lambda connection: self._jobs.wrote(connection, file, count),
            step=step,
            begun=file.version_id is not None,
        )
        self._written.append(replace(file, version_id=version))
        self._news.set()

    async def _fail(self, file: File, code: str, reason: str) -> None:
        await self._jobs.failed(file, code, reason)
        telemetry.FILES.labels(outcome="failed").inc()
        await self._clear()

    # Publications

    async def _publish_for_ever(self) -> None:
        await self._patiently(self._publisher.recover)
        while True:
            await self._gathered()
            batch = self._publishing = self._written[: TOGETHER * 2]
            del self._written[: len(batch)]
            await self._patiently(lambda: self._publish(batch))  # noqa: B023 - awaited here
            self._publishing = ()
            async with self._published:
                self._published.notify_all()

    async def _gathered(self) -> None:
        """Returns when there is enough to publish, or nothing more to wait for."""
        while not self._written:
            self._news.clear()
            await self._news.wait()
        until = time.monotonic() + LINGER
        while len(self._written) < TOGETHER and self._busy and (left := until - time.monotonic()) > 0:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), left)

    async def _publish(self, batch: Sequence[File]) -> None:
        await self._publisher.publish([file.version_id for file in batch if file.version_id])
        await self._jobs.done(batch)
        telemetry.FILES.labels(outcome="done").inc(len(batch))

    async def _patiently(self, work: Callable[[], Awaitable[None]]) -> None:
        pause = 0.2
        while True:
            try:
                return await work()
            except AegisError as error:
                logger.warning("Publishing waits: %s", error)
                await asyncio.sleep(pause)
                pause = min(10.0, pause * 2)

    # Ending

    async def _cancel(self, job_id: str) -> None:
        await self._stop(job_id)
        await self._end(job_id)

    async def _end(self, job_id: str) -> None:
        self._written = [file for file in self._written if file.job_id != job_id]
        until = time.monotonic() + CANCEL_WAIT
        while self._is_publishing(job_id) and time.monotonic() < until:
            async with self._published:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._published.wait(), 0.2)
        await self._jobs.cancel(job_id, self._publishing)
        await self._clear()

    def _is_publishing(self, job_id: str) -> bool:
        return any(file.job_id == job_id for file in self._publishing)

    async def _stop(self, job_id: str) -> None:
        run = self._runs.get(job_id)
        if run is not None and run.task is not None:
            run.stop.set()
            await asyncio.wait((run.task,))

    async def _stop_all(self) -> None:
        for job_id in list(self._runs):
            await self._stop(job_id)
            with contextlib.suppress(AegisError):
                await self._jobs.release(job_id)

    async def _clear(self) -> None:
        """Take away what was written of files that came to nothing."""
        async with self._clearing:
            for file in await self._jobs.leftovers():
                if file.version_id is not None and await self._unseen(file.version_id):
                    await self._versions.discard(file.version_id)
                await self._jobs.cleared(file)

    async def _settle(self) -> None:
        """What a dead process left of jobs that had ended."""
        await self._jobs.forget_unfinished()
        known = {file.key for file in (*self._written, *self._publishing)}
        self._written += [file for file in await self._jobs.stranded() if file.key not in known]
        self._news.set()
        await self._clear()

    async def _unseen(self, version: str) -> bool:
        query = select(versions.c.id).where(versions.c.id == version, versions.c.visible_from == NEVER)
        async with self._jobs.database.read() as connection:
            return (await connection.execute(query)).first() is not None

    # Loops

    async def _every(self, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        while not self._closing.is_set():
            self._wake.clear()
            try:
                await work()
            except AegisError as error:
                logger.warning("Looking for jobs failed: %s", error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), seconds)

    async def _pulse(self) -> None:
        count = 0
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), PULSE)
            count += 1
            try:
                await self._beat(count % EXTEND == 0)
            except AegisError as error:
                logger.warning("The leases of the running jobs could not be kept: %s", error)

    async def _beat(self, extend: bool) -> None:
        runs = dict(self._runs)
        if not runs or self._closing.is_set():
            return
        telemetry.WAITING.set(await self._jobs.waiting())
        held = await (self._jobs.extend(runs) if extend else self._jobs.held(runs))
        for job_id, run in runs.items():
            if job_id not in held:
                await self._stop(job_id)  # ended, or another replica has taken it over
            elif held[job_id]:
                await self._cancel(job_id)
            else:
                await self._estimate(run)

    async def _estimate(self, run: _Run) -> None:
        done, left = await self._jobs.bytes_left(run.job_id)
        if run.done_before is None:
            run.done_before = done
        speed = (done - run.done_before) / (time.monotonic() - run.began)
        await self._jobs.estimate(run.job_id, round(left / speed, 1) if speed > 0 else None, dict(run.stages))
