"""Leads the jobs of the job table: has their files read and written, publishes them, and ends the job.

The files go through `lanes.py`, here and in every worker process. What is written, by whomever, waits for the next
publication, which takes all of it at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from aegis import telemetry
from aegis.database.signals import NoSignals, Signals
from aegis.errors import AegisError
from aegis.settings import IngestionSettings
from retrieval.ingestion.calling import Caller
from retrieval.ingestion.claims import Claims
from retrieval.ingestion.file import File
from retrieval.ingestion.jobs import JobTable
from retrieval.ingestion.lanes import Lanes, Run, Stopped
from retrieval.ingestion.leftovers import Leftovers
from retrieval.ingestion.publishing import Publisher
from retrieval.ingestion.reading import Reader
from retrieval.ingestion.tables import OPEN
from retrieval.ingestion.versions import Versions

SWEEP = 15.0  # seconds between looks for jobs without a live lease
PULSE = 2.0  # seconds between looks at what was asked of the running jobs
EXTEND = 5  # pulses between extensions of the leases
TOGETHER = 50  # files of one publication, aimed at
LINGER = 2.0  # seconds a written file waits for others, at most
CANCEL_WAIT = 3.0  # seconds cancelling waits for a publication under way

logger = logging.getLogger(__name__)


class Runner:
    def __init__(
        self,
        jobs: JobTable,
        versions: Versions,
        publisher: Publisher,
        reader: Reader,
        settings: IngestionSettings,
        signals: Signals | None = None,
        caller: Caller | None = None,
    ) -> None:
        self._jobs = jobs
        self._signals = signals or NoSignals()
        self._caller = caller
        self._publisher = publisher
        self._reader = reader
        self._settings = settings
        self._leftovers = Leftovers(jobs, versions)
        claims = Claims(jobs.database, jobs.holder, jobs.now)
        self._lanes = Lanes(claims, versions, reader, self._leftovers, settings, self._wait_for_publication, self._tell)
        self._runs: dict[str, Run] = {}
        self._wake = asyncio.Event()
        self._written: dict[tuple[str, int], File] = {}
        self._publishing: Sequence[File] = ()
        self._news = asyncio.Event()  # something was written, or a lane has come to its end
        self._published = asyncio.Condition()
        self._closing = asyncio.Event()
        self._signals.listen("jobs", self._wake.set)

    def wake(self, job_id: str) -> None:
        """This job has files to work on."""
        self._wake.set()
        self._signals.send("jobs")  # for whoever can lead it
        if self._caller is not None:
            self._caller.call(job_id)  # for whoever has a hand free

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
            await asyncio.wait(tasks[:2])  # no job is taken any more
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
            run = self._runs[job_id] = Run(job_id)
            run.task = asyncio.create_task(self._work(run), name=f"job {job_id}")
        telemetry.WAITING.set(await self._jobs.waiting())

    async def _work(self, run: Run) -> None:
        ended = False
        try:
            await self._resume(run)
            while await self._jobs.left(run.job_id, OPEN):
                await self._lanes.work(run)
                await self._others(run)
            await self._jobs.close(run.job_id)
            ended = True
        except Stopped:
            pass
        except AegisError as error:
            logger.warning("Job %s waits: %s", run.job_id, error)
        finally:
            if self._runs.get(run.job_id) is run:
                del self._runs[run.job_id]
        if ended:
            self._wake.set()

    async def _resume(self, run: Run) -> None:
        if (await self._jobs.held([run.job_id])).get(run.job_id):  # asked before a crash
            await self._end(run.job_id)
            raise Stopped
        await self._lanes.take_back(run.job_id, own=True)
        await self._gather_written(run)

    async def _others(self, run: Run) -> None:
        """What other processes still have in hand, and what is still to be published."""
        run.check()
        await self._gather_written(run)
        async with self._published:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._published.wait(), 0.5)

    async def _gather_written(self, run: Run) -> None:
        """What other processes have written, and what was written before this one led the job."""
        for file in await self._jobs.written(run.job_id):
            if not run.stop.is_set():
                self._wait_for_publication(file)
        self._news.set()

    def _wait_for_publication(self, file: File) -> None:
        if all(file.key != other.key for other in self._publishing):
            self._written[file.key] = file

    def _tell(self) -> None:
        self._news.set()

    # Publications

    async def _publish_for_ever(self) -> None:
        await self._patiently(self._publisher.recover)
        while True:
            await self._gathered()
            batch = self._publishing = list(self._written.values())[: TOGETHER * 2]
            for file in batch:
                del self._written[file.key]
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
        while len(self._written) < TOGETHER and self._lanes.busy and (left := until - time.monotonic()) > 0:
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
        self._written = {key: file for key, file in self._written.items() if file.job_id != job_id}
        until = time.monotonic() + CANCEL_WAIT
        while self._is_publishing(job_id) and time.monotonic() < until:
            async with self._published:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._published.wait(), 0.2)
        await self._jobs.cancel(job_id, self._publishing)
        await self._leftovers.clear()

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
                await self._lanes.claims.let_go(job_id)
                await self._jobs.release(job_id)

    async def _settle(self) -> None:
        """What a dead process left of jobs that had ended."""
        await self._jobs.forget_unfinished()
        for file in await self._jobs.stranded():
            self._wait_for_publication(file)
        self._news.set()
        await self._leftovers.clear()

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
                await self._lanes.beat(run)
                await self._lanes.take_back(job_id)
                await self._gather_written(run)
                await self._estimate(run)

    async def _estimate(self, run: Run) -> None:
        done, left = await self._jobs.bytes_left(run.job_id)
        if run.done_before is None:
            run.done_before = done
        speed = (done - run.done_before) / (time.monotonic() - run.began)
        await self._jobs.estimate(run.job_id, round(left / speed, 1) if speed > 0 else None)
