"""A document marked private, and an embedder that sends texts away: kept through changes, rebuilds and other hands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from aegis.database import Database
from aegis.errors import Forbidden, NotFound
from aegis.scope import Scope, document_id
from inference.sharing import private_documents
from retrieval.privacy import Privacy
from retrieval.store import Dense
from retrieval.tables import embeddings
from tests.retrieval.ingestion.ingesting import SCOPE, HashEmbedder, World, now, open_world, upload

SECRET = document_id(SCOPE.user, "default", "upload:secret.txt")


class Elsewhere(HashEmbedder):
    """Sends what it is given away; keeps what that was."""

    elsewhere = True

    def __init__(self) -> None:
        super().__init__()
        self.seen = ""

    async def embed(self, texts: Sequence[str]) -> Dense:
        self.seen += "\n".join(texts)
        return await super().embed(texts)


def privacy(database: Database, world: World) -> Privacy:
    return Privacy(database, world.catalogue, world.outbox, now)


async def taken_in(world: World, text: str, *, private: bool = True) -> None:
    job = await world.intake.submit(SCOPE, [replace(upload("secret.txt", text), private=private)])
    assert (await world.finished(job.id)).state == "done"


async def test_nothing_of_it_is_embedded_elsewhere_until_the_mark_is_taken_away(
    any_database: Database, tmp_path: Path
) -> None:
    embedder = Elsewhere()
    async with open_world(any_database, tmp_path, embedder=embedder) as world:
        await taken_in(world, "The vault opens at noon.")
        await taken_in(world, "The vault opens at dusk, says the changed file.", private=False)
        assert (await world.catalogue.document(SCOPE, SECRET)).private
        await world.vectors.rebuild("a test")
        assert embedder.seen == ""
        assert not any(point.dense.any() for point in world.store.points.values())
        async with any_database.read() as connection:
            assert (await connection.execute(select(embeddings))).all() == []
        assert not (await privacy(any_database, world).set(SCOPE, SECRET, private=False)).private
        await world.vectors.caught_up()
        assert "dusk" in embedder.seen
        assert all(point.dense.any() for point in world.store.points.values())


async def test_what_was_embedded_before_it_was_marked_is_used_on(database: Database, tmp_path: Path) -> None:
    embedder = Elsewhere()
    async with open_world(database, tmp_path, embedder=embedder) as world:
        await taken_in(world, "The vault opens at noon.", private=False)
        assert (await privacy(database, world).set(SCOPE, SECRET, private=True)).private
        asked = embedder.asked
        await world.vectors.rebuild("a test")
        assert embedder.asked == asked
        assert all(point.dense.any() for point in world.store.points.values())


async def test_the_same_words_of_a_document_that_may_leave_are_embedded(database: Database, tmp_path: Path) -> None:
    async with open_world(database, tmp_path, embedder=Elsewhere()) as world:
        same = [replace(upload(name, "Open at noon."), title="Same", private=name == "secret.txt") for name in NAMES]
        job = await world.intake.submit(SCOPE, same)
        assert (await world.finished(job.id)).state == "done"
        assert any(point.dense.any() for point in world.store.points.values())
        listed = await world.catalogue.list_documents(SCOPE)
    assert {entry.source: entry.private for entry in listed} == {"upload:secret.txt": True, "upload:plain.txt": False}


NAMES = ("secret.txt", "plain.txt")


async def test_an_embedder_here_sees_everything(database: Database, tmp_path: Path) -> None:
    embedder = HashEmbedder()
    async with open_world(database, tmp_path, embedder=embedder) as world:
        await taken_in(world, "The vault opens at noon.")
    assert embedder.asked == 1


async def test_the_mark_is_there_before_the_file_is_read(database: Database, tmp_path: Path) -> None:
    """And stays with a name whose file is refused, or whose document was removed."""
    async with open_world(database, tmp_path) as world:
        job = await world.intake.submit(SCOPE, [replace(upload("secret.txt", "x"), private=True)])
        async with database.read() as connection:
            assert (await connection.execute(select(private_documents.c.document_id))).scalars().all() == [SECRET]
        await world.finished(job.id)
        await world.intake.remove(SCOPE, SECRET)
        await taken_in(world, "Back again.", private=False)
        assert (await world.catalogue.document(SCOPE, SECRET)).private


async def test_who_may_not_write_may_not_mark(database: Database, tmp_path: Path) -> None:
    async with open_world(database, tmp_path) as world:
        await taken_in(world, "The vault opens at noon.", private=False)
        marking = privacy(database, world)
        with pytest.raises(NotFound):
            await marking.set(Scope("eve", frozenset({"other"})), SECRET, private=True)
        reader = ReadingOnly("eve", frozenset({"default"}))
        with pytest.raises(Forbidden):
            await marking.set(reader, SECRET, private=True)
        assert not (await world.catalogue.document(SCOPE, SECRET)).private


class ReadingOnly(Scope):
    def may_write(self, collection: str) -> bool:
        return False
