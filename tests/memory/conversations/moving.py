"""Moves whatever is due to the archive, in a process that a test kills: python moving.py FOLDER."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from aegis.database import open_database
from aegis.settings import SQLiteSettings
from memory.conversations.archive import Archive
from retrieval.blobs import Blobs


async def main(folder: Path) -> None:
    async with open_database(SQLiteSettings(), folder) as database:
        archive = Archive(database, Blobs(str(folder / "blobs")), lambda: datetime.now(UTC))
        sys.stdout.write("begun\n")
        sys.stdout.flush()
        for conversation_id in await archive.due():
            await archive.move(conversation_id)


asyncio.run(main(Path(sys.argv[1])))
