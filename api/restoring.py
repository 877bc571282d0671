"""A backup put in the place of what is there, while the server runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fastapi import FastAPI

from aegis.backup.reading import Backup, fill, put_blobs
from aegis.backup.staging import decide, room, stage
from aegis.errors import AegisError, Conflict, DataFolderError
from aegis.services import Services
from aegis.settings import Settings, SQLiteSettings

Phase = Literal["none", "receiving", "checking", "restoring", "switching", "indexing", "done", "failed"]
LOOK = 0.1  # seconds between looks at the rebuild
REASON = "The server is restoring a backup; try again shortly."

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class State:
    phase: Phase = "none"
    done: int = 0
    total: int = 0
    message: str = ""

    @property
    def running(self) -> bool:
        return self.phase not in ("none", "done", "failed")


class Restoring:
    """One at a time. Lives as long as the application, across the closing and opening of its services."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self.state = State()
        self._task: asyncio.Task[None] | None = None

    async def begin(self, pieces: AsyncIterator[bytes]) -> None:
        """Take the file; on return it is whole on disk and the rest goes on by itself.

        Raises Conflict while another is being restored, DataFolderError when it cannot be written.
        """
        if self.state.running:
            raise Conflict("Another backup is being restored; wait until that is done.")
        self.state = State("receiving")
        try:
            file = await self._received(pieces)
        except BaseException:
            self.state = State("failed", message="The file did not arrive.")
            raise
        self.state = State("checking")
        self._task = asyncio.create_task(self._run(file), name="restore")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _received(self, pieces: AsyncIterator[bytes]) -> Path:
        try:
            file = await asyncio.to_thread(room, self._settings.folder) / "backup.zip"
            with file.open("wb") as out:
                async for piece in pieces:
                    await asyncio.to_thread(out.write, piece)
        except OSError as error:
            raise DataFolderError(
                f"The backup cannot be written to {self._settings.folder} ({error.strerror}). Free some space there."
            ) from error
        return file

    async def _run(self, file: Path) -> None:
        try:
            await self._restore(file)
        except AegisError as error:
            logger.error("The backup is not restored: %s", error)
            self.state = State("failed", message=error.message)
        except OSError as error:
            logger.exception("The backup is not restored")
            self.state = State("failed", message=f"{error.strerror}: {error.filename}")
        except Exception:
            logger.exception("The backup is not restored")
            self.state = State("failed", message="Something went wrong; the server's log says what.")

    async def _restore(self, file: Path) -> None:
        with await asyncio.to_thread(Backup, file) as backup:
            await asyncio.to_thread(backup.check, self._shows("checking"))
            embedded = isinstance(self._settings.database, SQLiteSettings)
            if embedded:
                await stage(self._settings, backup, self._shows("restoring"))
            async with self._app.state.gate.drained(REASON):
                self.state = State("switching")
                if embedded:
                    await asyncio.to_thread(decide, self._settings.folder)
                else:
                    services: Services = self._app.state.services
                    await put_blobs(services.blobs, backup, self._shows("restoring"))
                    await fill(services.database, backup, self._shows("restoring"))
                await self._app.state.hosting.reopen()
                await self._indexed(self._app.state.services)
            rows = sum(backup.contents.rows.values())
            self.state = State("done", rows, rows, f"Made at {backup.contents.made_at}.")

    async def _indexed(self, services: Services) -> None:
        await services.projections.rebuild()
        while (now := services.projections.progress()).running:
            self.state = State("indexing", now.done, now.total)
            await asyncio.sleep(LOOK)

    def _shows(self, phase: Phase):
        def show(done: int, total: int) -> None:
            self.state = State(phase, done, total)

        return show
