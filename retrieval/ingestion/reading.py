"""Reading files in a process of their own, which may hang or die without harm.

A reader starts its process when there is something to read and stops it after some idle time, so that an idle
server does not pay for it. This module is what that process imports: keep it light.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import sys
import time
from concurrent.futures import TimeoutError as Expired
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol

from pebble import ProcessExpired, ProcessPool

from aegis.errors import AegisError, Overloaded, UnreadableDocument
from aegis.settings import IngestionSettings
from retrieval.blobs import Blobs
from retrieval.ingestion.preparing import Prepared

STARTS = 3  # new pools tried for one file when processes do not come up
KILLED = (-signal.SIGKILL, -signal.SIGTERM) if sys.platform != "win32" else ()  # ended from outside
KILLS = 3  # times a file's process may be killed before the file is held to be the reason

NICE = 10
_PR_SET_PDEATHSIG = 1


class Prepares(Protocol):
    """`retrieval.ingestion.preparing.Preparer`, or anything picklable that does the same."""

    def __call__(self, data: bytes, source: str, title: str | None) -> Prepared: ...


class Reader:
    """Raises UnsupportedFormat or UnreadableDocument, with the reason, for files that cannot be taken."""

    def __init__(self, blobs: Blobs, prepare: Prepares, settings: IngestionSettings) -> None:
        self._blobs = blobs
        self._prepare = prepare
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.workers)
        self._pool: ProcessPool | None = None
        self._used = 0.0

    async def read(self, digest: str, source: str, title: str | None) -> Prepared:
        starts = kills = 0
        while starts < STARTS:
            async with self._slots:
                try:
                    return await self._read(digest, source, title)
                except BrokenProcessPool:  # died between two files: nobody's fault
                    starts += 1
                    await self.stop()
                except ProcessExpired as error:
                    kills += 1
                    if error.exitcode not in KILLED or kills == KILLS:
                        raise self._ended(source, error.exitcode) from error
        raise Overloaded(f"No reading process comes up for {source}. Is there memory left?", retry_after=10)

    async def stop(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(_stop, pool)

    async def rest(self) -> None:
        """For ever: stop the process whenever it has been idle for long."""
        while True:
            await asyncio.sleep(min(1.0, self._settings.worker_idle))
            idle = time.monotonic() - self._used > self._settings.worker_idle
            if idle and self._pool is not None and not self._slots.locked():
                await self.stop()

    async def _read(self, digest: str, source: str, title: str | None) -> Prepared:
        self._used = time.monotonic()
        deadline = self._settings.file_deadline
        task = (self._blobs, self._prepare, digest, source, title)
        try:
            # Starting a process takes some ms: not on the event loop.
            future = await asyncio.to_thread(lambda: self._open().schedule(_read, task, timeout=deadline))
            return await asyncio.wrap_future(future)
        except Expired as error:
            raise UnreadableDocument(
                f"Reading {source} took longer than {deadline:g} s and was stopped. "
                "Split the file, or raise AEGIS_INGESTION__FILE_DEADLINE.",
                source=source,
            ) from error
        finally:
            self._used = time.monotonic()

    def _ended(self, source: str, exitcode: int) -> UnreadableDocument:
        return UnreadableDocument(
            f"Reading {source} ended its process ({_ending(exitcode)}). The file may be damaged, or need "
            f"more than {self._settings.worker_memory_mb} MB (AEGIS_INGESTION__WORKER_MEMORY_MB).",
            source=source,
        )

    def _open(self) -> ProcessPool:
        if self._pool is None or not self._pool.active:
            self._pool = ProcessPool(
                max_workers=self._settings.workers,
                initializer=_begin,
                initargs=(self._settings.worker_memory_mb, os.getpid()),
                context=multiprocessing.get_context("spawn"),  # type: ignore[arg-type]
            )
        return self._pool


def _stop(pool: ProcessPool) -> None:
    pool.stop()
    pool.join()


def _ending(exitcode: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(-exitcode).name
    return f"exit code {exitcode}"


def _begin(memory_mb: int, parent: int) -> None:
    """In the reading process: a bound on memory, and an end when the server is gone (where the system offers it).

    Where processors are short, the server goes first.
    """
    if sys.platform != "win32":
        os.nice(NICE)
    if sys.platform == "linux":
        import ctypes
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_mb * 2**20, memory_mb * 2**20))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)


def _read(blobs: Blobs, prepare: Prepares, digest: str, source: str, title: str | None) -> Prepared:
    """In the reading process."""
    try:
        return prepare(blobs.get_now(digest), source, title)
    except AegisError:
        raise
    except Exception as error:  # noqa: BLE001 - see below
        # A parser may fail in any way on hostile bytes; that is this file's failure and nobody else's.
        raise UnreadableDocument(
            f"{source} could not be read: {type(error).__name__}: {str(error)[:300]}", source=source
        ) from None
