"""Files in many hands: each is worked on once, taken over from the dead, stopped when it stands still."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from aegis.database import Database
from aegis.settings import IngestionSettings
from retrieval.ingestion.claims import ATTEMPTS, SILENCE, Claims, Lost
from retrieval.ingestion.file import File
from retrieval.ingestion.tables import job_files
from retrieval.store import Dense
from retrieval.tables import NEVER, versions
from tests.retrieval.ingestion.ingesting import SCOPE, HashEmbedder, World, now, open_hand, open_world, upload

NONE_HERE = IngestionSettings(workers=0)  # a server that reads nothing itself


class SlowEmbedder(HashEmbedder):
    """Takes its time; for texts with STUCK, for ever."""

    async def embed(self, texts: Sequence[str]) -> Dense:
        await asyncio.sleep(3600 if any("STUCK" in text for text in texts) else 0.05)
        return await super().embed(texts)


async def attempts(database: Database) -> list[int]:
    async with database.read() as connection:
        return [row[0] for row in await connection.execute(select(job_files.c.attempts))]


async def unseen(database: Database) -> int:
    query = select(func.count()).where(versions.c.visible_from == NEVER)
    async with database.read() as connection:
        return int((await connection.execute(query)).scalar_one())


async def taken_by_the_dead(database: Database, job_id: str, begun: int = 1) -> File:
    """A process took the next file, and was last heard of long ago."""
    dead = Claims(database, "dead", lambda: now() - SILENCE * 2)
    while True:
        (file, _), *_ = await dead.candidates(job_id, 1)
        assert await dead.take([], file)
        begun -= 1
        if not begun:
            return file
        assert await dead.take_back(job_id, own=True) == []


async def test_workers_do_what_the_server_leaves_to_them(any_database: Database, tmp_path: Path) -> None:
    texts = {f"f{n}": f"Text {n}.\n\nMore of {n}." for n in range(24)}
    async with (
        open_world(any_database, tmp_path, settings=NONE_HERE) as world,
        open_hand(any_database, tmp_path, "one"),
        open_hand(any_database, tmp_path, "two"),
    ):
        job = await world.ingest(**texts, bad="REFUSE")
        assert (job.state, job.done, job.chunks) == ("done", 25, 48)
        assert [failure.source for failure in job.failures] == ["upload:bad"]
        assert await world.texts() == {f"upload:{name}": text for name, text in texts.items()}
        assert await world.vectors.verify()
    assert await attempts(any_database) == [1] * 25
    assert await unseen(any_database) == 0


async def test_two_take_a_file_and_one_gets_it(any_database: Database, tmp_path: Path) -> None:
    async with open_world(any_database, tmp_path, settings=NONE_HERE) as world:
        job = await world.intake.submit(SCOPE, [upload("a", "one")])
        hands = [Claims(any_database, name, now) for name in ("one", "two", "three")]
        ((file, _),) = await hands[0].candidates(job.id, 5)
        assert sorted(await asyncio.gather(*(hand.take([], file) for hand in hands))) == [False, False, True]


async def test_files_of_a_dead_worker_are_taken_over(any_database: Database, tmp_path: Path) -> None:
    async with open_world(any_database, tmp_path, settings=NONE_HERE) as world:
        job = await world.intake.submit(SCOPE, [upload("a", "one"), upload("b", "two")])
        file = await taken_by_the_dead(any_database, job.id)
        async with open_hand(any_database, tmp_path, "alive"):
            done = await world.finished(job.id)
        assert (done.state, done.done, done.failures) == ("done", 2, [])
        assert await world.texts() == {"upload:a": "one", "upload:b": "two"}
        assert sorted(await attempts(any_database)) == [1, 2]
        dead = Claims(any_database, "dead", now)
        with pytest.raises(Lost):  # what it still writes is refused
            await any_database.transact(lambda connection: dead.hold(connection, file))
        await dead.failed(file, "internal", "too late")
        assert (await world.intake.job(SCOPE, job.id)).failures == []


async def test_a_living_worker_keeps_its_files(any_database: Database, tmp_path: Path) -> None:
    async with open_world(any_database, tmp_path, settings=NONE_HERE) as world:
        job = await world.intake.submit(SCOPE, [upload("a", "one")])
        alive = Claims(any_database, "alive", now)
        ((file, _),) = await alive.candidates(job.id, 1)
        assert await alive.take([], file)
        assert await Claims(any_database, "leader", now).take_back(job.id, own=True) == []
        await any_database.transact(lambda connection: alive.hold(connection, file))


async def test_a_file_that_ends_its_process_again_and_again_is_given_up(database: Database, tmp_path: Path) -> None:
    async with open_world(database, tmp_path, settings=NONE_HERE) as world:
        job = await world.intake.submit(SCOPE, [upload("a", "one")])
        await taken_by_the_dead(database, job.id, begun=ATTEMPTS)
        done = await world.finished(job.id)
        assert done.state == "failed"
        assert f"was begun {ATTEMPTS} times" in (done.failures[0].reason or "")


async def test_a_file_without_progress_is_stopped_and_passed_over(any_database: Database, tmp_path: Path) -> None:
    settings = IngestionSettings(stall_deadline=1)
    async with open_world(any_database, tmp_path, embedder=SlowEmbedder(), settings=settings) as world:
        job = await world.ingest(a="one", stuck="STUCK", b="two")
        (failure,) = job.failures
        assert (job.state, failure.source, failure.code) == ("done", "upload:stuck", "stalled")
        assert "AEGIS_INGESTION__STALL_DEADLINE" in (failure.reason or "")
        assert await world.texts() == {"upload:a": "one", "upload:b": "two"}
    assert await unseen(any_database) == 0


async def test_cancelling_stops_workers_elsewhere(any_database: Database, tmp_path: Path) -> None:
    async with (
        open_world(any_database, tmp_path, settings=NONE_HERE) as world,
        open_hand(any_database, tmp_path, "one", embedder=SlowEmbedder()),
    ):
        job = await world.intake.submit(SCOPE, [upload(f"f{n}", f"Text {n}.") for n in range(200)])
        await _begun(world, job.id)
        started = time.monotonic()
        assert (await world.intake.cancel(SCOPE, job.id)).state == "cancelled"
        assert time.monotonic() - started < 5
        seen = await world.texts()
        await asyncio.sleep(2.5)  # whatever the worker had in hand has come to nothing
        assert await world.texts() == seen
        async with asyncio.timeout(10):
            while await unseen(any_database):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.1)
        assert (await world.ingest(after="fine")).state == "done"


async def _begun(world: World, job_id: str) -> None:
    async with asyncio.timeout(30):
        while not any(each.state == "written" for each in await world.intake.files(SCOPE, job_id)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def test_a_heartbeat_comes_often_enough() -> None:
    from retrieval.ingestion.runner import PULSE
    from retrieval.ingestion.worker import LOOK

    assert timedelta(seconds=4 * max(PULSE, LOOK)) < SILENCE
