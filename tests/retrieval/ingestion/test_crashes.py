"""Killed at random moments, an ingestion ends as if nothing had happened."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from sqlalchemy import func, select

from retrieval.tables import chunks, versions
from tests.retrieval.ingestion.crashing import FILES, expected, world_in
from tests.retrieval.ingestion.ingesting import SCOPE

KILLS = int(os.environ.get("AEGIS_TEST_KILLS", "5"))


async def test_killed_again_and_again(tmp_path: Path) -> None:
    """As often as asked for; a job that ended before is looked at, and another one is begun."""
    chance, killed, jobs = random.Random(), 0, 0
    while killed < KILLS:
        folder = tmp_path / str(jobs)
        folder.mkdir()
        jobs += 1
        while killed < KILLS and not await _killed_after(folder, chance.uniform(0, 1.5)):
            killed += 1
        await _whole(folder)
    print(f"{killed} kills in {jobs} jobs")  # noqa: T201 - for whoever asks for more of them by hand


async def _whole(folder: Path) -> None:
    async with world_in(folder) as world:
        (job,) = await world.intake.jobs(SCOPE)
        job = await world.finished(job.id, timeout=120)
        assert (job.state, job.done, list(job.failures)) == ("done", FILES + 20, [])
        assert await world.texts() == expected()
        assert await world.vectors.verify()
        await _nothing_doubled(world)


async def _nothing_doubled(world: object) -> None:
    from tests.retrieval.ingestion.ingesting import World

    assert isinstance(world, World)
    async with world.publisher.database.read() as connection:
        shown = (await connection.execute(select(func.count()).select_from(versions))).scalar_one()
        kept = (await connection.execute(select(func.count()).select_from(chunks))).scalar_one()
        counted = (await connection.execute(select(func.sum(versions.c.chunk_count)))).scalar_one()
    assert shown == FILES + 20
    assert kept == counted == (await world.store.summary()).count
    visible = sum(text.count("\n\n") + 1 for text in expected().values())
    assert (await world.catalogue.totals(SCOPE)) == {"documents": FILES, "chunks": visible}


async def _killed_after(folder: Path, seconds: float) -> bool:
    """True when the job had ended before."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.retrieval.ingestion.crashing", str(folder), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 60), "the ingestion did not start"
        try:
            await asyncio.wait_for(process.stdout.readline(), seconds)
        except TimeoutError:
            return False
        return True
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
