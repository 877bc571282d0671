"""A worker: reads and writes files of the jobs that servers lead, in a process of its own, on any machine.

It needs the relational store, the originals and the embedder; it searches nothing and publishes nothing. It may die at
any moment: a server gives its files to others once it has been silent for some seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from aegis.errors import AegisError, NotFound, StoreUnavailable
from aegis.settings import IngestionSettings
from retrieval.ingestion.lanes import Lanes, Run, Stopped
from retrieval.ingestion.preparing import Prepared
from retrieval.ingestion.reading import Reader

LOOK = 2.0  # seconds between looks for jobs, and between words about the files in hand

logger = logging.getLogger(__name__)


class SharedReader(Reader):
    """A worker without the originals says nothing about a file: it waits for one that has them."""

    async def read(self, digest: str, source: str, title: str | None) -> Prepared:
        try:
            return await super().read(digest, source, title)
        except NotFound as error:
            raise StoreUnavailable(
                f"{error.message} Servers and workers need the same originals: set AEGIS_BLOBS__URL."
            ) from error


class Worker:
    """`check` is called before each look for work, and raises AegisError when this process should end."""

    def __init__(
        self, lanes: Lanes, settings: IngestionSettings, check: Callable[[], Awaitable[None]], name: str
    ) -> None:
        self._lanes = lanes
        self._settings = settings
        self._check = check
        self._name = name
        self._runs: dict[str, Run] = {}
        self._closing = asyncio.Event()

    async def take_up(self, job_id: str) -> None:
        """Work on this job until none of its files is left to take, unless that is being done already."""
        if self._closing.is_set() or job_id in self._runs or len(self._runs) >= self._settings.parallel_jobs:
            return
        run = self._runs[job_id] = Run(job_id)
        run.task = asyncio.current_task()
        try:
            logger.info("%s works on job %s", self._name, job_id)
            await self._lanes.work(run)
        except Stopped:
            pass
        except AegisError as error:
            logger.warning("Job %s waits: %s", job_id, error)
        finally:
            del self._runs[job_id]

    async def run(self) -> None:
        """Until `stop` is called or `check` objects; then gives back what is in hand."""
        resting = asyncio.create_task(self._lanes.reader.rest())
        pulse = asyncio.create_task(self._pulse())
        try:
            await self._look()
        finally:
            self._closing.set()
            await self._let_go()
            await pulse
            resting.cancel()
            await asyncio.wait({resting})
            await self._lanes.reader.stop()

    def stop(self) -> None:
        self._closing.set()

    async def _look(self) -> None:
        at_work = set[asyncio.Task[None]]()
        while not self._closing.is_set():
            try:
                await self._check()
                for job_id in await self._lanes.claims.waiting(self._settings.parallel_jobs):
                    task = asyncio.create_task(self.take_up(job_id))
                    at_work.add(task)
                    task.add_done_callback(at_work.discard)
            except StoreUnavailable as error:
                logger.warning("Looking for jobs failed: %s", error)
            await self._rest()

    async def _pulse(self) -> None:
        while not self._closing.is_set():
            await self._rest()
            try:
                await self._beat()
            except AegisError as error:
                logger.warning("Could not say that files are being worked on: %s", error)

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), LOOK)

    async def _beat(self) -> None:
        runs = dict(self._runs)
        going = await self._lanes.claims.going(list(runs)) if runs else set[str]()
        for job_id, run in runs.items():
            if job_id in going:
                await self._lanes.beat(run)
            else:
                run.stop.set()

    async def _let_go(self) -> None:
        runs = list(self._runs.values())
        for run in runs:
            run.stop.set()
        while self._runs:  # noqa: ASYNC110 - each ends at its next step
            await asyncio.sleep(0.05)
        for run in runs:
            with contextlib.suppress(AegisError):
                await self._lanes.claims.let_go(run.job_id)
