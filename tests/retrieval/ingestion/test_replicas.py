"""Two replicas on one PostgreSQL and one vector store: each file once, one publication at a time, one epoch for all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy import func, select

from aegis.database import Database
from retrieval.ingestion.tables import job_files
from retrieval.tables import NEVER, epochs, publications, versions
from tests.retrieval.ingestion.ingesting import SCOPE, MemoryStore, World, open_world, upload

pytestmark = pytest.mark.servers


@pytest.fixture
async def pair(postgres_database: Database, tmp_path: Path) -> AsyncGenerator[tuple[World, World]]:
    store = MemoryStore()
    async with AsyncExitStack() as stack:
        worlds = [
            await stack.enter_async_context(open_world(postgres_database, tmp_path, store=store, replica=name))
            for name in ("one", "two")
        ]
        yield worlds[0], worlds[1]


async def test_jobs_at_once(pair: tuple[World, World], postgres_database: Database) -> None:
    one, two = pair
    jobs = [
        await world.intake.submit(SCOPE, [upload(f"{n}-{m}.txt", f"Text {n} of {m}.") for m in range(12)])
        for n, world in enumerate((one, two, one, two))
    ]
    done = await asyncio.gather(
        *(world.finished(job.id) for world, job in zip((two, one, two, one), jobs, strict=True))
    )
    assert [(job.state, job.done, job.failures) for job in done] == [("done", 12, [])] * 4
    assert await one.texts() == await two.texts()
    assert len(await one.texts()) == 48
    assert await one.vectors.verify()
    async with postgres_database.read() as connection:
        attempts = (await connection.execute(select(func.max(job_files.c.attempts)))).scalar_one()
        epoch = (await connection.execute(select(epochs.c.value))).scalar_one()
        led_to = [row[0] for row in await connection.execute(select(publications.c.epoch).order_by("epoch"))]
        unseen = select(func.count()).where(versions.c.visible_from == NEVER)
        assert (await connection.execute(unseen)).scalar_one() == 0
    assert attempts == 1  # each file was begun once
    assert led_to == list(range(1, epoch + 1))  # no two publications shared an epoch


async def test_the_other_sees_the_epoch_within_a_second(pair: tuple[World, World]) -> None:
    one, two = pair
    await one.ingest(a="First.")
    async with asyncio.timeout(1):
        while await two.catalogue.epoch() < await one.catalogue.epoch():  # noqa: ASYNC110 - what is measured
            await asyncio.sleep(0.02)
    assert await two.texts() == {"upload:a": "First."}
