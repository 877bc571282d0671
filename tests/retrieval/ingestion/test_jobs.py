"""Jobs over a real relational store, with files that fail in every way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from aegis.database import Database
from aegis.errors import Conflict, Forbidden, InvalidInput, NotFound, Overloaded, TooLarge, UnreadableDocument
from aegis.scope import Scope
from aegis.settings import IngestionSettings
from retrieval.ingestion import FileReport
from retrieval.ingestion.preparing import Prepared
from retrieval.ingestion.versions import EMBEDDED
from retrieval.store import Dense
from tests.retrieval.ingestion.ingesting import (
    SCOPE,
    HashEmbedder,
    MemoryStore,
    PlainPreparer,
    World,
    open_world,
    upload,
)

WARNING = "12 of 40 pages have no text"


class Mended(PlainPreparer):
    """Files that cannot be read until the reader is mended; and one that is read with a reservation."""

    well = False

    def __call__(self, data: bytes, source: str, title: str | None) -> Prepared:
        if data.startswith(b"SICK") and not self.well:
            raise UnreadableDocument(f"{source} cannot be read yet.")
        prepared = super().__call__(data, source, title)
        verdict = {"warning": WARNING} if data.startswith(b"PARTLY") else {}
        return replace(prepared, document=replace(prepared.document, verdict=verdict))


QUICK = IngestionSettings(worker_idle=5, file_deadline=1, worker_memory_mb=1024)


def _reports(reports: list[FileReport]) -> dict[str, str]:
    return {report.source: report.state for report in reports}


async def test_a_job_makes_documents_visible_with_chunks_and_points(any_database: Database, tmp_path: Path) -> None:
    async with open_world(any_database, tmp_path) as world:
        job = await world.ingest(a="one\n\ntwo", b="three")
        assert (job.state, job.files, job.done, job.chunks) == ("done", 2, 2, 3)
        assert await world.texts() == {"upload:a": "one\n\ntwo", "upload:b": "three"}
        assert len(world.store.visible(await world.catalogue.epoch())) == 3
        assert await world.vectors.verify()


async def test_the_same_again_changes_nothing(any_database: Database, tmp_path: Path) -> None:
    async with open_world(any_database, tmp_path) as world:
        await world.ingest(a="one\n\ntwo", b="three")
        epoch, points, asked = await world.catalogue.epoch(), dict(world.store.points), world.embedder.asked
        job = await world.ingest(a="one\n\ntwo", b="three")
        assert (job.state, job.unchanged) == ("done", 2)
        assert (await world.catalogue.epoch(), world.embedder.asked) == (epoch, asked)
        assert world.store.points.keys() == points.keys()


async def test_however_small_the_transactions_are_many_chunks_are_embedded_at_a_time(
    database: Database, tmp_path: Path
) -> None:
    async with open_world(database, tmp_path) as world:
        await world.ingest(a="\n\n".join(f"paragraph {n}" for n in range(2 * EMBEDDED + 1)))
        assert (world.embedder.asked, world.embedder.calls) == (2 * EMBEDDED + 1, 3)


async def test_other_tags_are_a_change_and_unstated_ones_are_not(database: Database, tmp_path: Path) -> None:
    async with open_world(database, tmp_path) as world:
        await world.ingest(a="one")
        job = await world.intake.submit(SCOPE, [upload("a", "one", tags=("x",))])
        assert (await world.finished(job.id)).unchanged == 0
        assert (await world.ingest(a="one")).unchanged == 1
        (entry,) = await world.catalogue.list_documents(SCOPE)
        assert entry.tags == ["x"]
        assert [point.tags for point in world.store.visible(await world.catalogue.epoch())] == [("x",)]


async def test_files_that_fail_do_not_fail_the_job(database: Database, tmp_path: Path) -> None:
    async with open_world(database, tmp_path, processes=True, settings=QUICK) as world:
        files = {"good": "fine", "die": "DIE", "hang": "HANG", "bug": "RAISE", "big": "HUNGRY", "scan": "REFUSE"}
        uploads = [upload(name, text) for name, text in files.items()]
        job = await world.intake.submit(SCOPE, [*uploads, upload("empty", ""), upload("last", "also fine")])
        job = await world.finished(job.id)
        assert (job.state, job.files, len(job.failures)) == ("done", 8, 6)
        assert set(await world.texts()) == {"upload:good", "upload:last"}
        reasons = {report.source: report.reason or "" for report in job.failures}
        assert "ended its process" in reasons["upload:die"]
        assert "AEGIS_INGESTION__FILE_DEADLINE" in reasons["upload:hang"]
        assert "ZeroDivisionError: a parser's mistake" in reasons["upload:bug"]
        assert "is empty" in reasons["upload:empty"]
        assert {report.code for report in job.failures} == {"unreadable_document"}


async def test_a_job_of_failures_only_has_failed(database: Database, tmp_path: Path) -> None:
    async with open_world(database, tmp_path) as world:
        assert (await world.ingest(a="REFUSE")).state == "failed"
        assert (await world.ingest(a="fine after all")).state == "done"


async def test_failed_files_can_be_retried(any_database: Database, tmp_path: Path) -> None:
    preparer = Mended()
    async with open_world(any_database, tmp_path, preparer=preparer) as world:
        job = await world.ingest(a="fine", b="SICK", c="SICK")
        assert len(job.failures) == 2
        with pytest.raises(NotFound):
            await world.intake.retry(Scope("other", frozenset({"default"})), job.id)
        preparer.well = True
        await world.ingest(c="taken in by a later job")
        await world.intake.retry(SCOPE, job.id)
        again = await world.finished(job.id)
        assert (again.state, [failure.source for failure in again.failures]) == ("done", ["upload:c"])
        assert await world.texts() == {"upload:a": "fine", "upload:b": "SICK", "upload:c": "taken in by a later job"}
        with pytest.raises(Conflict, match="no file to retry"):
            await world.intake.retry(SCOPE, job.id)


async def test_what_is_wrong_with_a_text_is_told_with_the_job(any_database: Database, tmp_path: Path) -> None:
    async with open_world(any_database, tmp_path, preparer=Mended()) as world:
        job = await world.ingest(a="fine", scan="PARTLY scanned")
        assert [(each.source, each.warning) for each in job.warnings] == [("upload:scan", WARNING)]
        reports = {report.source: report.warning for report in await world.intake.files(SCOPE, job.id)}
        assert reports == {"upload:a": None, "upload:scan": WARNING}
        entries = {entry.source: entry for entry in await world.catalogue.list_documents(SCOPE)}
        assert entries["upload:scan"].verdict["warning"] == WARNING
        marked = await world.catalogue.chunks_of(SCOPE, entries["upload:scan"].version_id)
        assert [chunk.warning for chunk in marked] == [WARNING]


async def test_refusals_at_the_door(database: Database, tmp_path: Path) -> None:
    settings = IngestionSettings(max_files=2, max_file_bytes=10, max_waiting=1)
    narrow = Scope("guest", frozenset({"default"}))
    async with open_world(database, tmp_path, settings=settings) as world:
        submit = world.intake.submit
        with pytest.raises(TooLarge, match=r"11 bytes.*AEGIS_INGESTION__MAX_FILE_BYTES"):
            await submit(SCOPE, [upload("a", "x" * 11)])
        with pytest.raises(TooLarge, match="AEGIS_INGESTION__MAX_FILES"):
            await submit(SCOPE, [upload(str(n), "x") for n in range(3)])
        with pytest.raises(UnreadableDocument, match="upload:a is empty"):
            await submit(SCOPE, [upload("a", "")])
        with pytest.raises(InvalidInput, match="at least one"):
            await submit(SCOPE, [])
        with pytest.raises(InvalidInput, match="The collection"):
            await submit(SCOPE, [upload("a", "x", collection="a\x00b")])
        with pytest.raises(Forbidden, match="'secret'"):
            await submit(narrow, [upload("a", "x", collection="secret")])
        with pytest.raises(Overloaded, match="AEGIS_INGESTION__MAX_WAITING"):
            await submit(SCOPE, [upload("a", "x"), upload("b", "x")])


async def test_jobs_are_their_owners_alone(database: Database, tmp_path: Path) -> None:
    async with open_world(database, tmp_path) as world:
        job = await world.ingest(a="one")
        other = Scope("other", frozenset({"default"}))
        with pytest.raises(NotFound):
            await world.intake.job(other, job.id)
        with pytest.raises(NotFound):
            await world.intake.cancel(other, job.id)
        with pytest.raises(NotFound):
            await world.intake.files(other, job.id)
        assert list(await world.intake.jobs(other)) == []
        assert [found.id for found in await world.intake.jobs(SCOPE)] == [job.id]
        assert await world.intake.jobs(SCOPE, before=job.id) == []


async def test_versions_of_one_document_follow_in_the_order_of_submission(database: Database, tmp_path: Path) -> None:
    async with open_world(database, tmp_path) as world:
        jobs = [await world.intake.submit(SCOPE, [upload("a", f"SLOW {n}"), upload("a", f"{n}")]) for n in range(3)]
        for job in jobs:
            assert (await world.finished(job.id)).done == 2
        assert await world.texts() == {"upload:a": "2"}


async def test_cancelling_is_quick_and_leaves_nothing_half_visible(database: Database, tmp_path: Path) -> None:
    async with open_world(database, tmp_path, processes=True) as world:
        await world.ingest(kept="old")
        files = {f"f{n}": f"text {n}" for n in range(15)} | {"hang": "HANG"} | {f"g{n}": "late" for n in range(15)}
        files["kept"] = "new"
        job = await world.intake.submit(SCOPE, [upload(name, text) for name, text in files.items()])
        await _until(world, job.id, done=5)
        started = time.monotonic()
        cancelled = await world.intake.cancel(SCOPE, job.id)
        assert cancelled.state == "cancelled"
        assert time.monotonic() - started < 5
        every = list(await world.intake.files(SCOPE, job.id))
        assert await world.intake.files(SCOPE, job.id, after=1, limit=2) == every[1:3]
        assert await world.intake.files(SCOPE, job.id, after=len(every)) == []
        states = _reports(every)
        assert states["upload:hang"] == "cancelled"
        shown = {source for source, state in states.items() if state == "done"}
        assert set(await world.texts()) == shown | {"upload:kept"}
        assert await world.vectors.verify()
        again = await world.ingest(**{name: text for name, text in files.items() if name != "hang"})
        assert (again.state, again.failures) == ("done", [])
        assert len(await world.texts()) == 31


async def test_cancelling_while_the_vector_store_is_away(database: Database, tmp_path: Path) -> None:
    store = MemoryStore()
    async with open_world(database, tmp_path, store=store) as world:
        store.away = True
        job = await world.intake.submit(SCOPE, [upload("a", "one")])
        await asyncio.sleep(1)
        started = time.monotonic()
        assert (await world.intake.cancel(SCOPE, job.id)).state == "cancelled"
        assert time.monotonic() - started < 5
        store.away = False
        async with asyncio.timeout(20):
            await _consistent(world)


async def test_a_job_goes_on_when_the_server_is_started_again(database: Database, tmp_path: Path) -> None:
    store = MemoryStore()
    files = [upload(f"f{n}", f"SLOW {n}\n\nmore") for n in range(12)]
    async with open_world(database, tmp_path, processes=True, store=store) as world:
        job = await world.intake.submit(SCOPE, files)
        await _until(world, job.id, done=1)
    async with open_world(database, tmp_path, processes=True, store=store) as world:
        done = await world.finished(job.id)
        assert (done.state, done.chunks, done.failures) == ("done", 24, [])
        assert len(store.points) == 24
        assert await world.vectors.verify()


async def test_an_estimate_of_the_time_left(database: Database, tmp_path: Path) -> None:
    async with open_world(database, tmp_path, processes=True) as world:
        job = await world.intake.submit(SCOPE, [upload(f"f{n}", f"SLOW {n}") for n in range(25)])
        seen = [each.seconds_left async for each in world.intake.watch(SCOPE, job.id)]
        stated = [left for left in seen if left is not None]
        assert stated
        assert all(0 < left < 60 for left in stated)


async def test_removal_is_one_visible_step_and_earlier_epochs_stay(any_database: Database, tmp_path: Path) -> None:
    async with open_world(any_database, tmp_path) as world:
        await world.ingest(a="one", b="two")
        before = await world.catalogue.epoch()
        entry = (await world.catalogue.list_documents(SCOPE))[0]
        await world.intake.remove(SCOPE, entry.id)
        assert (await world.catalogue.totals(SCOPE))["documents"] == 1
        assert (await world.catalogue.totals(SCOPE, before))["documents"] == 2
        assert len(world.store.visible(before)) == 2
        assert len(world.store.visible(before + 1)) == 1
        with pytest.raises(NotFound):
            await world.intake.remove(SCOPE, entry.id)


async def test_a_cancelled_write_transaction_leaves_the_store_usable(database: Database, tmp_path: Path) -> None:
    async with open_world(database, tmp_path) as world:
        for delay in (0.0005, 0.001, 0.002, 0.003, 0.005):
            task = asyncio.create_task(world.intake.submit(SCOPE, [upload("a", f"one {delay}")]))
            await asyncio.sleep(delay)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert (await world.ingest(b="two")).state == "done"


async def _until(world: World, job_id: str, done: int) -> None:
    async with asyncio.timeout(30):
        async for job in world.intake.watch(SCOPE, job_id):
            if job.done >= done:
                return


async def _consistent(world: World) -> None:
    while world.vectors.failure is not None or not await world.vectors.verify():  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.2)


class Refusing(HashEmbedder):
    """Refuses once, after the first group of chunks."""

    refused = False

    async def embed(self, texts: Sequence[str]) -> Dense:
        if self.asked and not self.refused:
            self.refused = True
            raise Overloaded("no money just now", retry_after=0.1)
        return await super().embed(texts)


async def test_what_was_embedded_before_a_refusal_is_kept(database: Database, tmp_path: Path) -> None:
    embedder, count = Refusing(), EMBEDDED + 5
    async with open_world(database, tmp_path, embedder=embedder) as world:
        text = "\n\n".join(f"Paragraph number {number}." for number in range(count))
        job = await world.intake.submit(SCOPE, [upload("a.txt", text)])
        assert (await world.finished(job.id)).state == "done"
    assert embedder.refused
    assert embedder.asked == count  # no text twice
