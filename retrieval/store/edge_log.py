"""Writes confirmed while an index is built on a copy, kept in a file until the copy has caught up."""

from __future__ import annotations

import asyncio
from pathlib import Path

from retrieval.shard.messages import HEADER


class WriteLog:
    """Belongs to one build; a crash leaves the old generation in use, so nothing here need be durable."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0  # bytes
        self.failure: OSError | None = None

    async def append(self, message: bytes) -> None:
        """Never fails the write that is logged: the engine has it. A failed log ends the build instead."""
        if self.failure is None:
            try:
                await asyncio.to_thread(self._append, message)
            except OSError as error:
                self.failure = error

    def _append(self, message: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(HEADER.pack(len(message), 0) + message)
        self.size += HEADER.size + len(message)
