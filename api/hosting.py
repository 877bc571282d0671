"""The services of an application: open while it runs, and closed and opened again when their store is replaced."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from aegis.settings import Settings

REOPEN_PATIENCE = 30.0  # seconds to wait for the data folder when it is taken again

logger = logging.getLogger(__name__)


class Hosting:
    """One task opens and closes everything, because what it opens must be closed by the task that opened it."""

    def __init__(self, app: FastAPI, settings: Settings, command: str, patience: float) -> None:
        self._app = app
        self._settings = settings
        self._command = command
        self._patience = patience
        self._leave = asyncio.Event()
        self._over = False
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Raises what opening raises."""
        self._task = asyncio.create_task(self._keep(), name="services")
        try:
            await self._opened
            yield
        finally:
            self._over = True
            self._leave.set()
            await asyncio.wait({self._task})
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            raise error

    async def reopen(self) -> None:
        """Close everything and open it again. Raises what opening raises."""
        self._patience = REOPEN_PATIENCE
        self._opened = asyncio.get_running_loop().create_future()
        self._leave.set()
        await self._opened

    async def _keep(self) -> None:
        while not self._over:
            try:
                await self._hold()
            except BaseException as error:
                if not self._opened.done():
                    self._opened.set_exception(error)
                    return
                raise

    async def _hold(self) -> None:
        from aegis.services import open_services  # here, because they load engines
        from api.checks import checks_of
        from graphs.afterwards import open_afterwards
        from graphs.answering import open_answering

        self._leave.clear()
        state: Any = self._app.state
        async with (
            open_services(self._settings, command=self._command, patience=self._patience) as services,
            open_answering(services) as answering,
            open_afterwards(services, answering),
        ):
            state.services, state.answering, state.checks = services, answering, checks_of(services)
            self._opened.set_result(None)
            try:
                await self._leave.wait()
            finally:
                state.services = state.answering = state.checks = None
