"""The outbox's runner and the vector projection: order, failures, comparison, rebuilding."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, delete, event, func, select

from aegis.database import Database
from aegis.database.leases import Leases
from aegis.database.outbox import Outbox, OutboxRow, append, outbox
from aegis.errors import Conflict, GraphUnavailable
from retrieval.chunk_points import RANGES
from retrieval.projection import Projection, prune
from retrieval.store import Point
from retrieval.tables import embeddings
from tests.retrieval.ingestion.ingesting import SCOPE, MemoryStore, World, now, open_world, upload

Filled = tuple[Database, Path, dict[str, Point]]


class Notes:
    """A target that writes down what it is told."""

    name = "notes"
    topics = ("note",)

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.failing = 0

    async def apply(self, rows: Sequence[OutboxRow]) -> None:
        if self.failing:
            self.failing -= 1
            raise GraphUnavailable("The graph is away.")
        self.seen += [row.payload for row in rows]


async def _note(database: Database, box: Outbox, *numbers: int) -> None:
    async with database.write() as connection:
        await append(connection, "note", list(numbers))
        await append(connection, "unheard", ["of"])
    box.wake()


async def test_rows_arrive_once_and_in_order_also_after_a_restart(any_database: Database) -> None:
    box, notes = Outbox(any_database), Notes()
    for start in (0, 100, 200):
        projection = Projection(box, notes, None, now)
        async with projection.running():
            await _note(any_database, box, *range(start, start + 100))
            await projection.caught_up()
    assert notes.seen == list(range(300))


async def test_a_target_that_is_away_gets_its_rows_when_it_is_back(database: Database) -> None:
    box, notes = Outbox(database), Notes()
    notes.failing = 3
    projection = Projection(box, notes, None, now)
    async with projection.running(), asyncio.timeout(20):
        await _note(database, box, 1, 2)
        await projection.caught_up()
        assert notes.seen == [1, 2]
        assert projection.failures == 3


async def test_one_of_two_replicas_applies_and_both_know(any_database: Database) -> None:
    box, notes = Outbox(any_database), Notes()
    replicas = [Projection(box, notes, Leases(any_database, name), now) for name in ("one", "two")]
    async with replicas[0].running(), replicas[1].running(), asyncio.timeout(20):
        for number in range(20):
            await _note(any_database, box, number)
            await asyncio.gather(*(replica.caught_up() for replica in replicas))
    assert notes.seen == list(range(20))


async def test_the_other_replica_takes_over(database: Database) -> None:
    box, notes = Outbox(database), Notes()
    first, second = (Projection(box, notes, Leases(database, name), now) for name in ("one", "two"))
    async with asyncio.timeout(20), second.running():
        async with first.running():
            await _note(database, box, 1)
            await first.caught_up()
        await _note(database, box, 2)
        await second.caught_up()
    assert notes.seen == [1, 2]


async def test_rows_are_forgotten_once_every_listener_has_them(any_database: Database) -> None:
    box, notes, slow = Outbox(any_database), Notes(), Notes()
    slow.name = "slow"
    quick, late = Projection(box, notes, None, now), Projection(box, slow, None, now)
    async with quick.running():
        await _note(any_database, box, 1, 2, 3)
        await quick.caught_up()
        await prune(any_database, box, [quick, late])
        assert await _topics(any_database) == ["note"] * 3
    async with late.running():
        await late.caught_up()
    await prune(any_database, box, [quick, late])
    assert await _topics(any_database) == []
    assert slow.seen == [1, 2, 3]


async def _topics(database: Database) -> list[str]:
    async with database.read() as connection:
        return [row[0] for row in await connection.execute(select(outbox.c.topic))]


async def test_statements_have_one_shape_however_many_versions_are_written(database: Database, tmp_path: Path) -> None:
    """Each shape is compiled on the event loop, and hundreds of them, each of hundreds of objects, are kept."""
    shapes: set[str] = set()

    def seen(_c: object, _k: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT chunks.id, chunks.text") or "job_files.ordinal IN" in statement:
            shapes.add(re.sub(r"(?:(?:\?|\$\d+::\w+), )*(?:\?|\$\d+::\w+)", "?", statement))

    event.listen(Engine, "before_cursor_execute", seen)
    try:
        async with open_world(database, tmp_path) as world:
            for many in (1, 2, 5, RANGES + 1):
                uploads = [upload(f"{many} {number}", f"words {many} of {number}") for number in range(many)]
                job = await world.intake.submit(SCOPE, uploads)
                await world.finished(job.id)
            assert len(world.store.points) == 8 + RANGES + 1
    finally:
        event.remove(Engine, "before_cursor_execute", seen)
    assert sorted(shape.split()[0] for shape in shapes) == ["SELECT", "UPDATE"]


async def test_points_carry_the_kept_vectors_and_the_documents_payload(database: Database, tmp_path: Path) -> None:
    async with open_world(database, tmp_path) as world:
        job = await world.intake.submit(SCOPE, [upload("a", "some words here", tags=("x", "y"))])
        await world.finished(job.id)
        (point,) = world.store.points.values()
        (entry,) = await world.catalogue.list_documents(SCOPE)
        assert (point.document, point.collection, point.type) == (entry.id, "default", "text/plain")
        assert (point.tags, point.visible_from) == (("x", "y"), 1)
        assert len(point.sparse.indices) > 0
        async with database.read() as connection:
            kept = (await connection.execute(select(embeddings.c.vector))).scalar_one()
        np.testing.assert_array_equal(point.dense, np.frombuffer(kept, "<f2").astype(np.float32))


@pytest.fixture
async def filled(any_database: Database, tmp_path: Path) -> Filled:
    """A store after 254 chunks, two versions of one document, and a removal."""
    store = MemoryStore()
    async with open_world(any_database, tmp_path, store=store) as world:
        await world.ingest(a="\n\n".join(f"a{n}" for n in range(250)), b="b", c="c")
        await world.ingest(b="b\n\nmore")
        entries = {entry.source: entry.id for entry in await world.catalogue.list_documents(SCOPE)}
        await world.intake.remove(SCOPE, entries["upload:c"])
    return any_database, tmp_path, store.points


@pytest.mark.parametrize("damage", ["emptied", "one missing", "one too many", "wrong epoch"])
async def test_a_damaged_index_is_rebuilt_at_start(filled: Filled, damage: str) -> None:
    database, folder, points = filled
    store = MemoryStore(_damaged(points, damage))
    async with open_world(database, folder, store=store) as world:
        await _rebuilt(world, points)
        assert store.was_reset is not None
        assert world.embedder.asked == 0
        assert await world.vectors.verify()


async def test_an_index_as_it_should_be_is_left_alone(filled: Filled) -> None:
    database, folder, points = filled
    store = MemoryStore(dict(points))
    async with open_world(database, folder, store=store) as world:
        await asyncio.sleep(1)
        assert await world.vectors.verify()
        assert store.was_reset is None


async def test_documents_come_in_while_the_index_is_rebuilt(filled: Filled) -> None:
    database, folder, _ = filled
    async with open_world(database, folder, store=MemoryStore()) as world:
        await asyncio.gather(world.vectors.rebuild("asked for"), world.ingest(b="third", d="new"))
        async with asyncio.timeout(20):
            while not await world.vectors.verify():  # noqa: ASYNC110 - until the check at start is through
                await asyncio.sleep(0.1)
        assert len(world.store.visible(await world.catalogue.epoch())) == 252


async def test_only_one_rebuild_at_a_time_and_it_tells_how_far_it_is(
    filled: Filled,
) -> None:
    database, folder, points = filled
    async with open_world(database, folder, store=MemoryStore(dict(points))) as world:
        await asyncio.sleep(1)
        rebuild = asyncio.create_task(world.vectors.rebuild("asked for"))
        seen: set[tuple[int, int]] = set()
        while not rebuild.done():
            if world.vectors.progress is not None:
                seen.add(world.vectors.progress)
                with pytest.raises(Conflict):
                    await world.vectors.rebuild("again")
            await asyncio.sleep(0)
        assert {(100, 254), (200, 254)} <= seen
        assert world.vectors.progress is None


async def test_missing_embeddings_are_made_again(filled: Filled) -> None:
    database, folder, points = filled
    async with database.write() as connection:
        await connection.execute(delete(embeddings))
    async with open_world(database, folder, store=MemoryStore()) as world:
        await _rebuilt(world, points)
        assert 0 < world.embedder.asked <= 254
    async with database.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(embeddings))).scalar_one() > 250


async def _rebuilt(world: World, points: dict[str, Point]) -> None:
    def seen(of: dict[str, Point]) -> set[tuple[str, int, int]]:
        return {(point.id, point.visible_from, point.visible_until) for point in of.values()}

    async with asyncio.timeout(20):
        while seen(world.store.points) != seen(points):  # noqa: ASYNC110 - a store tells nobody
            await asyncio.sleep(0.1)


def _damaged(points: dict[str, Point], damage: str) -> dict[str, Point]:
    one = next(iter(points.values()))
    return {
        "emptied": {},
        "one missing": {name: point for name, point in points.items() if name != one.id},
        "one too many": points | {one.document: replace(one, id=one.document)},
        "wrong epoch": points | {one.id: replace(one, visible_from=one.visible_from + 1)},
    }[damage]
