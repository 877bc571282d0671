"""What readers see while versions are published, cut off, and published again."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import select

from aegis import telemetry
from aegis.database import Database
from retrieval.catalogue import Catalogue
from retrieval.ingestion.publishing import GRACE
from retrieval.store import PointFilter, VectorQuery
from retrieval.tables import publications
from tests.retrieval.ingestion.ingesting import SCOPE, MemoryStore, World, open_world, upload


async def test_a_reader_sees_one_version_whole_at_every_moment(any_database: Database, tmp_path: Path) -> None:
    async with open_world(any_database, tmp_path) as world:
        text = "\n\n".join(f"old {n}" for n in range(150))
        await world.ingest(a=text, b="still")
        wanted = {"old", "new"}
        seen: set[str] = set()
        stop = asyncio.Event()

        async def look() -> None:
            while not stop.is_set():
                seen.add(await _kind_of_a(world))
                await asyncio.sleep(0.002)

        reader = asyncio.create_task(look())
        try:
            for kind in ("new", "old", "new"):
                await world.ingest(a=text.replace("old", kind))
        finally:
            stop.set()
            await reader
        assert seen == wanted


async def _kind_of_a(world: World) -> str:
    """`old` or `new`, when catalogue and index agree on one whole version at one epoch; otherwise what is wrong."""
    epoch = await world.catalogue.epoch()
    scored = (await world.store.query(VectorQuery(PointFilter(SCOPE.collections, epoch), 1000))).dense
    found = await world.catalogue.chunks(SCOPE, [hit.id for hit in scored])
    kinds = {chunk.text.split()[0] for chunk in found if chunk.source == "upload:a"}
    entries = await world.catalogue.list_documents(SCOPE, epoch=epoch)
    return kinds.pop() if (len(found), len(kinds), len(entries)) == (151, 1, 2) else f"{len(found)} {kinds} {entries}"


async def test_a_then_b_then_a_again(any_database: Database, tmp_path: Path) -> None:
    async with open_world(any_database, tmp_path) as world:
        epochs: list[int] = []
        for text in ("A", "B", "A", "B", "A"):
            await world.ingest(doc=text)
            epochs.append(await world.catalogue.epoch())
        (entry,) = await world.catalogue.list_documents(SCOPE)
        versions = {(await world.catalogue.document(SCOPE, entry.id, epoch)).version_id for epoch in epochs}
        assert len(versions) == len(set(epochs)) == 5
        texts = [await _text_at(world, entry.id, epoch) for epoch in epochs]
        assert texts == ["A", "B", "A", "B", "A"]


async def _text_at(world: World, document_id: str, epoch: int) -> str:
    entry = await world.catalogue.document(SCOPE, document_id, epoch)
    (point,) = world.store.visible(epoch)
    (chunk,) = await world.catalogue.chunks(SCOPE, [point.id])
    assert chunk.version_id == entry.version_id
    return chunk.text


async def test_many_files_make_few_epochs(database: Database, tmp_path: Path) -> None:
    async with open_world(database, tmp_path) as world:
        await world.ingest(**{f"f{n}": f"text {n}" for n in range(120)})
        assert await world.catalogue.epoch() <= 8
        assert await world.catalogue.totals(SCOPE) == {"documents": 120, "chunks": 120}


async def test_nothing_is_visible_before_every_projection_has_confirmed(database: Database, tmp_path: Path) -> None:
    store = MemoryStore()
    async with open_world(database, tmp_path, store=store) as world:
        await world.ingest(a="old")
        store.away = True
        job = await world.intake.submit(SCOPE, [upload("a", "new")])
        await asyncio.sleep(1)
        assert await world.texts() == {"upload:a": "old"}
        store.away = False
        assert (await world.finished(job.id)).state == "done"
        assert await world.texts() == {"upload:a": "new"}


async def test_a_publication_cut_off_is_finished_by_the_next_publisher(any_database: Database, tmp_path: Path) -> None:
    store = MemoryStore()
    async with open_world(any_database, tmp_path, store=store) as world:
        await world.ingest(a="old")
        store.away = True
        job = await world.intake.submit(SCOPE, [upload("a", "new")])
        await asyncio.sleep(1)
        async with any_database.read() as connection:
            (row,) = (await connection.execute(select(publications).where(publications.c.closed_at.is_(None)))).all()
    store.away = False
    async with open_world(any_database, tmp_path, store=store) as world:
        assert (await world.finished(job.id)).state == "done"
        assert await world.catalogue.epoch() == row.epoch
        assert await world.texts() == {"upload:a": "new"}
        assert await world.vectors.verify()


async def test_an_old_publisher_that_wakes_up_changes_nothing(database: Database, tmp_path: Path) -> None:
    async with open_world(database, tmp_path) as world:
        await world.ingest(a="one")
        async with database.read() as connection:
            first = (await connection.execute(select(publications))).mappings().one()
        await world.ingest(a="two")
        from retrieval.ingestion.publishing import Publication

        epoch = await world.catalogue.epoch()
        carry_out = world.publisher._carry_out  # pyright: ignore[reportPrivateUsage] - as a paused process would go on
        await carry_out(Publication(first["epoch"], first["shown"], first["hidden"]))
        fresh = Catalogue(database)
        assert await fresh.epoch() == epoch
        assert await world.texts() == {"upload:a": "two"}
        assert len(world.store.visible(epoch)) == 1


async def test_transactions_are_short(database: Database, tmp_path: Path) -> None:
    """A generous bound: the machine may be busy. The figure is printed by `pytest -s`."""
    before = _writes()
    async with open_world(database, tmp_path) as world:
        big = "\n\n".join(f"{n} " + "word " * 150 for n in range(3000))
        await world.ingest(big=big, **{f"f{n}": f"text {n}" for n in range(20)})
        assert world.store.largest <= 100
    slow = {bound: count - before.get(bound, 0) for bound, count in _writes().items()}
    print("write transactions by seconds:", slow)  # noqa: T201
    assert slow["0.25"] >= 0.99 * slow["+Inf"]


def _writes() -> dict[str, float]:
    samples = next(iter(telemetry.WRITE_SECONDS.collect())).samples
    return {sample.labels["le"]: sample.value for sample in samples if "le" in sample.labels}


@dataclass
class Graph:
    """A projection that never confirms."""

    failure: str | None = None
    asked: int = 0

    async def caught_up(self) -> None:
        self.asked += 1
        await asyncio.Event().wait()


async def test_a_follower_that_is_away_delays_nobody(database: Database, tmp_path: Path) -> None:
    graph = Graph("Neo4j does not answer")
    async with open_world(database, tmp_path) as world:
        publisher = replace(world.publisher, followers=[graph])
        before = await world.catalogue.epoch()
        began = time.monotonic()
        (entry,) = await _ingested(world)
        await publisher.publish(hidden=[entry])
        assert time.monotonic() - began < GRACE
        assert await world.catalogue.epoch() == before + 2
    assert graph.asked == 0


async def test_a_follower_that_hangs_is_given_a_moment(database: Database, tmp_path: Path) -> None:
    graph = Graph()
    async with open_world(database, tmp_path) as world:
        (entry,) = await _ingested(world)
        before = await world.catalogue.epoch()
        began = time.monotonic()
        await replace(world.publisher, followers=[graph]).publish(hidden=[entry])
        assert GRACE <= time.monotonic() - began < GRACE + 5
        assert await world.catalogue.epoch() == before + 1
    assert graph.asked == 1


async def _ingested(world: World) -> list[str]:
    """Ids of the documents."""
    await world.ingest(a="some words")
    return [entry.id for entry in await world.catalogue.list_documents(SCOPE)]
