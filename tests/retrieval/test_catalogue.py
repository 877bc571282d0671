"""Reads of the catalogue: scopes, epochs, the whole text."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import update

from aegis.database import Database
from aegis.errors import NotFound
from aegis.scope import Scope
from retrieval.catalogue import REPLICA_EPOCH_LIFETIME, Catalogue
from retrieval.tables import TEXT_PART, epochs
from tests.retrieval.ingestion.ingesting import SCOPE, World, open_world, upload

BOTH = Scope("local", frozenset({"default", "other"}), may_add_collections=True)
OTHER = Scope("local", frozenset({"other"}))
NONE = Scope("stranger", frozenset({"elsewhere"}))


async def _two_collections(world: World) -> None:
    uploads = [upload("a", "in default\n\nmore"), upload("b", "in other", collection="other")]
    job = await world.intake.submit(BOTH, uploads)
    await world.finished(job.id)


async def test_one_scope_never_sees_another(any_database: Database, tmp_path: Path) -> None:
    async with open_world(any_database, tmp_path) as world:
        await _two_collections(world)
        catalogue = world.catalogue
        (mine,) = await catalogue.list_documents(SCOPE)
        ids = list(world.store.points)
        assert len(await catalogue.chunks(BOTH, ids)) == 3
        for stranger in (OTHER, NONE):
            with pytest.raises(NotFound):
                await catalogue.document(stranger, mine.id)
            with pytest.raises(NotFound):
                await catalogue.text(stranger, mine.id, mine.version_id)
            assert await catalogue.chunks_of(stranger, mine.version_id) == []
            assert all(chunk.document_id != mine.id for chunk in await catalogue.chunks(stranger, ids))
            assert not any((await catalogue.beside(stranger, ids)).values())
        assert await catalogue.totals(BOTH) == {"documents": 2, "chunks": 3}
        assert await catalogue.totals(OTHER) == {"documents": 1, "chunks": 1}
        assert await catalogue.totals(NONE) == {"documents": 0, "chunks": 0}


async def test_collections_are_those_with_visible_documents(any_database: Database, tmp_path: Path) -> None:
    async with open_world(any_database, tmp_path) as world:
        assert await world.catalogue.collections() == frozenset()
        await _two_collections(world)
        assert await world.catalogue.collections() == {"default", "other"}
        (entry,) = await world.catalogue.list_documents(OTHER)
        await world.intake.remove(BOTH, entry.id)
        assert await world.catalogue.collections() == {"default"}


async def test_long_texts_come_back_whole_and_spans_fit(any_database: Database, tmp_path: Path) -> None:
    text = "\n\n".join(f"{n} ünïcode 🙂 " + "x" * 900 for n in range(300))
    assert len(text) > 2 * TEXT_PART
    async with open_world(any_database, tmp_path) as world:
        await world.ingest(long=text)
        (entry,) = await world.catalogue.list_documents(SCOPE)
        assert await world.catalogue.text(SCOPE, entry.id) == text
        for start, end in ((0, 5), (TEXT_PART - 3, TEXT_PART + 4), (TEXT_PART, 2 * TEXT_PART), (7, 7), (9, 3)):
            part = await world.catalogue.text_part(SCOPE, entry.id, entry.version_id, start, end)
            assert part == (text[start:end], len(text))
        beyond = await world.catalogue.text_part(SCOPE, entry.id, entry.version_id, len(text) - 2, len(text) + 99)
        assert beyond == (text[-2:], len(text))
        assert (await world.catalogue.text_part(SCOPE, entry.id, entry.version_id, 10 * len(text)))[0] == ""
        found = await world.catalogue.chunks_of(SCOPE, entry.version_id)
        assert len(found) == entry.chunk_count == 300
        assert all(text[chunk.span.start : chunk.span.end] == chunk.text for chunk in found)


async def test_chunks_come_in_the_order_asked_for_also_more_than_are_cached(database: Database, tmp_path: Path) -> None:
    async with open_world(database, tmp_path) as world:
        await world.ingest(a="\n\n".join(f"chunk {n}" for n in range(50)))
        world.catalogue._chunks._cache.limit = 10  # pyright: ignore[reportPrivateUsage] - 4,000 would take long to write
        ids = sorted(world.store.points, reverse=True)
        for _ in range(2):
            assert [chunk.id for chunk in await world.catalogue.chunks(SCOPE, [*ids, "missing"])] == ids


async def test_what_stands_beside_a_chunk_is_of_the_same_version(any_database: Database, tmp_path: Path) -> None:
    async with open_world(any_database, tmp_path) as world:
        uploads = [upload("a", "one\n\ntwo\n\nthree"), upload("b", "alone")]
        await world.finished((await world.intake.submit(SCOPE, uploads)).id)
        read = {chunk.id: chunk.text for chunk in await world.catalogue.chunks(SCOPE, list(world.store.points))}
        expected = {"one": ["two"], "two": ["one", "three"], "three": ["two"], "alone": []}
        for _ in range(2):  # the second time from memory
            found = await world.catalogue.beside(SCOPE, list(read))
            assert {read[one]: [chunk.text for chunk in others] for one, others in found.items()} == expected
        world.catalogue.forget(list(read))
        assert len(await world.catalogue.beside(SCOPE, list(read)[:1])) == 1


async def test_documents_are_listed_page_by_page_at_an_epoch(any_database: Database, tmp_path: Path) -> None:
    async with open_world(any_database, tmp_path) as world:
        await world.ingest(**{f"f{n}": "text" for n in range(5)})
        before = await world.catalogue.epoch()
        await world.ingest(late="text")
        seen: list[str] = []
        while page := await world.catalogue.list_documents(
            SCOPE, after=seen[-1] if seen else "", limit=2, epoch=before
        ):
            seen += [entry.id for entry in page]
        assert len(seen) == len(set(seen)) == 5


async def test_a_replica_learns_of_a_new_epoch(any_database: Database) -> None:
    """Where several processes share a store; alone, a process raises its epoch itself."""
    catalogue = Catalogue(any_database)
    async with any_database.write() as connection:
        await connection.execute(epochs.insert().values(id=1, value=3))
    assert await catalogue.epoch() == 3
    async with any_database.write() as connection:
        await connection.execute(update(epochs).values(value=4))
    await asyncio.sleep(REPLICA_EPOCH_LIFETIME * 1.5)
    assert await catalogue.epoch() == (4 if any_database.dialect == "postgresql" else 3)
    catalogue.epoch_raised(4)
    catalogue.epoch_raised(2)
    assert await catalogue.epoch() == 4
