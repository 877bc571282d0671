"""Replaced versions: kept for `known_at`, so many and so long."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sqlalchemy import func, select

from aegis.database import Database
from aegis.settings import IngestionSettings
from retrieval.ingestion.expiry import Expiry
from retrieval.ingestion.versions import Versions
from retrieval.tables import chunks, texts, versions
from tests.retrieval.ingestion.ingesting import SCOPE, NoGraph, World, now, open_world


def expiry(database: Database, world: World, later: timedelta = timedelta(), **settings: float) -> Expiry:
    writing = Versions(database, world.outbox, lambda: world.embedder, NoGraph(), now)
    return Expiry(database, writing, IngestionSettings.model_validate(settings), None, lambda: now() + later)


async def counted(database: Database) -> list[int]:
    async with database.read() as connection:
        return [
            int((await connection.execute(select(func.count()).select_from(table))).scalar_one())
            for table in (versions, texts, chunks)
        ]


async def test_the_newest_replaced_versions_are_kept_and_others_leave_no_trace(
    any_database: Database, tmp_path: Path
) -> None:
    async with open_world(any_database, tmp_path) as world:
        for text in ("one", "two", "three", "four"):
            await world.ingest(a=text, b="always the same")
        epochs = await world.catalogue.epoch()
        assert await expiry(any_database, world, kept_versions=2).expire() == 1
        await world.vectors.caught_up()
        assert await counted(any_database) == [4, 4, 4]  # b, and three of a
        assert await world.vectors.verify()
        assert len(world.store.points) == 4
        told = [
            [entry.source for entry in await world.catalogue.list_documents(SCOPE, epoch=epoch)]
            for epoch in range(1, epochs + 1)
        ]
        assert sorted(map(len, told)) == [1, 2, 2, 2]  # the first epoch has lost its version of a
        assert await world.texts() == {"upload:a": "four", "upload:b": "always the same"}
        assert await expiry(any_database, world, kept_versions=2).expire() == 0


async def test_what_was_removed_long_ago_goes_for_good(any_database: Database, tmp_path: Path) -> None:
    async with open_world(any_database, tmp_path) as world:
        await world.ingest(a="one", b="two")
        for entry in await world.catalogue.list_documents(SCOPE):
            if entry.source == "upload:a":
                await world.intake.remove(SCOPE, entry.id)
        assert await expiry(any_database, world, timedelta(days=29), kept_days=30).expire() == 0
        assert await expiry(any_database, world, timedelta(days=31), kept_days=30).expire() == 1
        await world.vectors.caught_up()
        assert await counted(any_database) == [1, 1, 1]
        assert await world.vectors.verify()


async def test_nothing_that_is_visible_expires(database: Database, tmp_path: Path) -> None:
    async with open_world(database, tmp_path) as world:
        await world.ingest(a="one", b="two")
        assert await expiry(database, world, timedelta(days=9999), kept_days=0, kept_versions=0).expire() == 0
        await world.ingest(a="other")
        assert await expiry(database, world, kept_versions=0).expire() == 1
        assert await world.texts() == {"upload:a": "other", "upload:b": "two"}
