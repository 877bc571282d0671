"""Short write transactions that wait for SQLite's writer at the same time share one, and one flush of the disk.

Each has a savepoint of its own: one that fails takes nothing of the others with it. None is told that it is done before
the commit is on the disk. PostgreSQL does the like by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection

from aegis import telemetry
from aegis.database.sqlite import Connection as Writer

TOGETHER = 16  # units of one commit: each takes a millisecond or two, and readers of a turn wait for all

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    unit: Callable[[Connection], Any]
    done: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    since: float = field(default_factory=time.perf_counter)


class SharedCommits:
    """`writer` waits for the connection that writes."""

    def __init__(self, writer: Callable[[], AbstractAsyncContextManager[Writer]]) -> None:
        self._writer = writer
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def run(self, unit: Callable[[Connection], Result]) -> Result:
        """What it returns, once that is on the disk. A caller who is cut off before its turn has written nothing."""
        waiting = _Waiting(partial(copy_context().run, unit))
        self._waiting.append(waiting)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write(), name="shared commits")
        return await waiting.done

    async def _write(self) -> None:
        while self._waiting:
            group = self._waiting
            try:
                async with self._writer() as writer:
                    group = self._taken()
                    _tell(group, await writer.transact([waiting.unit for waiting in group]))
            except BaseException as error:
                self._waiting = [waiting for waiting in self._waiting if waiting not in group]
                _tell(group, [error] * len(group))
                if not isinstance(error, Exception):
                    raise

    def _taken(self) -> list[_Waiting]:
        """Those that came first and are still waited for."""
        waiting = [one for one in self._waiting if not one.done.done()]
        group, self._waiting = waiting[:TOGETHER], waiting[TOGETHER:]
        for one in group:
            telemetry.waited(time.perf_counter() - one.since)
        return group


def _tell(group: Sequence[_Waiting], outcomes: Sequence[Any]) -> None:
    for waiting, outcome in zip(group, outcomes, strict=True):
        if waiting.done.done():
            continue
        if isinstance(outcome, BaseException):
            waiting.done.set_exception(outcome)
        else:
            waiting.done.set_result(outcome)
