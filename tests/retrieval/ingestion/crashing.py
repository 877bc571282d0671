"""An ingestion in a process of its own, to be killed: `python -m tests.retrieval.ingestion.crashing FOLDER`.

Prints the job's id when it is durable, and `done` when the job has ended.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from aegis.database import open_database
from aegis.database.migrations import upgrade
from aegis.settings import EdgeSettings, SQLiteSettings
from retrieval.ingestion import Upload
from retrieval.store.edge import open_edge
from tests.retrieval.ingestion.ingesting import SCOPE, HashEmbedder, World, open_world, upload

FILES = 120


def files() -> list[Upload]:
    """The same in every process: 120 sources, of which 20 come twice, with another text."""
    chance = random.Random(7)
    first = [upload(f"f{n}", _text(chance, n)) for n in range(FILES)]
    return first + [upload(f"f{n}", _text(chance, n + 1000)) for n in range(20)]


def expected() -> dict[str, str]:
    return {each.source: each.data.decode() for each in files()}


@asynccontextmanager
async def world_in(folder: Path) -> AsyncGenerator[World]:
    async with (
        open_database(SQLiteSettings(), folder) as database,
        open_edge(EdgeSettings(), folder / "vectors", HashEmbedder.dimensions) as store,
    ):
        await upgrade(database)
        async with open_world(database, folder, store=store, processes=True) as world:
            yield world


async def work(folder: Path) -> None:
    async with world_in(folder) as world:
        found = await world.intake.jobs(SCOPE)
        job = found[0] if found else await world.intake.submit(SCOPE, files())
        print(job.id, flush=True)  # noqa: T201 - read by the test
        await world.finished(job.id, timeout=300)
        print("done", flush=True)  # noqa: T201


def _text(chance: random.Random, seed: int) -> str:
    return "\n\n".join(f"Paragraph {seed}.{n} of some words" for n in range(chance.randint(1, 12)))


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1])))
