"""One process that reads what is queued, until nothing waits: `python -m tests.memory.reading.reading_process FOLDER
URL`."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from aegis.database import open_database
from aegis.scope import new_id
from aegis.settings import SQLiteSettings
from tests.memory.reading.conftest import SCOPE, open_reader


async def main(folder: Path, url: str) -> None:
    def now() -> datetime:
        return datetime.now(UTC)

    async with (
        open_database(SQLiteSettings(), folder) as database,
        open_reader(database, now, new_id(), ollama={"url": url}) as reader,
    ):
        await reader.queue.take_back()
        while True:
            await reader.step()
            counts = await reader.queue.counts(SCOPE)
            if not counts.waiting:
                return


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
