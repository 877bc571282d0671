"""A backup holds everything, tells what is wrong with it, and takes the place of a folder whole or not at all."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from aegis.backup import COMPLETE, MANIFEST, staging
from aegis.backup.reading import Backup, fill, put_blobs
from aegis.backup.staging import decide, finish, room, stage
from aegis.backup.writing import backed_up, tables
from aegis.database import Database, open_database
from aegis.database.migrations import upgrade
from aegis.database.outbox import Outbox
from aegis.errors import AegisError, FormatTooNew, InvalidInput
from aegis.settings import CloudSettings, Settings, SQLiteSettings
from inference.sharing import Sharing, draws
from memory.conversations.tables import turns
from retrieval.blobs import Blobs
from retrieval.catalogue import Catalogue
from retrieval.privacy import Privacy
from tests.inference.conftest import now
from tests.memory.conversations.talks import ANN, tell, tiers
from tests.servers.fixtures import fresh_store


def quiet(_done: int, _total: int) -> None:
    return None


async def rows_of(database: Database) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    async with database.read() as connection:
        for table in tables():
            query = select(table).order_by(*table.primary_key.columns)
            found[table.name] = [dict(row) for row in (await connection.execute(query)).mappings()]
    return found


async def written(database: Database, blobs: Blobs, file: Path) -> Path:
    with file.open("wb") as out:
        async for piece in backed_up(database, blobs):
            out.write(piece)
    return file


async def told(database: Database, folder: Path) -> Blobs:
    """Conversations, some of them archived, and a turn that is still running; facts to be drawn."""
    kept = tiers(database, folder)
    told = await tell(kept, 60)
    await kept.feedback(ANN, told[3].id, {"value": 1})
    await kept.settle()
    await Privacy(database, Catalogue(database), Outbox(database), now).mark(ANN, ["a private document"])
    await Sharing(database, CloudSettings(), now).unmark(ANN, told[0].conversation_id)
    await database.transact(lambda connection: draws(connection, ANN.user, told[0].conversation_id, ["a document"]))
    return Blobs(str(folder / "blobs"))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.servers)])
async def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Database]:
    (tmp_path / "elsewhere").mkdir()
    async with fresh_store(request.param, request, tmp_path / "elsewhere") as opened:
        yield opened


async def test_every_row_and_blob_comes_back_on_any_store(
    any_database: Database, elsewhere: Database, tmp_path: Path
) -> None:
    blobs = await told(any_database, tmp_path)
    file = await written(any_database, blobs, tmp_path / "b.zip")
    there = Blobs(str(tmp_path / "elsewhere" / "blobs"))
    with Backup(file) as backup:
        backup.check(quiet)
        await fill(elsewhere, backup, quiet)
        await put_blobs(there, backup, quiet)
        await fill(elsewhere, backup, quiet)  # in the place of what is there
    assert await rows_of(elsewhere) == await rows_of(any_database)
    kept = tiers(elsewhere, tmp_path / "elsewhere")
    [talk] = await kept.list(ANN)
    assert await kept.history(ANN, talk.id) == await tiers(any_database, tmp_path).history(ANN, talk.id)
    more = await tell(kept, 2)  # numbers go on after those that came in
    assert len(more) == 2


async def test_what_is_written_meanwhile_is_not_half_in_it(database: Database, tmp_path: Path) -> None:
    blobs, kept = await told(database, tmp_path), tiers(database, tmp_path)
    before = await rows_of(database)
    with (tmp_path / "b.zip").open("wb") as out:
        async for piece in backed_up(database, blobs):
            out.write(piece)
            await tell(kept, 3)
    with Backup(tmp_path / "b.zip") as backup:
        assert dict(backup.contents.rows) == {name: len(rows) for name, rows in before.items()}


@pytest.fixture
async def file(database: Database, tmp_path: Path) -> Path:
    return await written(database, await told(database, tmp_path), tmp_path / "b.zip")


def remade(file: Path, changes: dict[str, bytes | None]) -> None:
    with zipfile.ZipFile(file) as zipped:
        members = {name: zipped.read(name) for name in zipped.namelist()} | changes
    with zipfile.ZipFile(file, "w") as zipped:
        for name, data in members.items():
            if data is not None:
                zipped.writestr(name, data)


async def test_what_is_wrong_with_a_file_is_said(file: Path) -> None:
    whole = file.read_bytes()
    for wrong in (b"", b"no zip", whole[: len(whole) // 2]):
        file.write_bytes(wrong)
        with pytest.raises(InvalidInput, match=r"no backup.*cut short"):
            Backup(file)
    file.write_bytes(whole)
    remade(file, {COMPLETE: None})
    with pytest.raises(InvalidInput, match="cut short"):
        Backup(file)
    for manifest in ({"format": 2, "version": "9", "revision": "0001"}, {"format": 1, "version": "9", "revision": "9"}):
        file.write_bytes(whole)
        remade(file, {MANIFEST: json.dumps(manifest).encode()})
        with pytest.raises(FormatTooNew, match="AegisRAG 9"):
            Backup(file)


async def test_a_flipped_byte_in_any_part_is_noticed(file: Path) -> None:
    whole = bytearray(file.read_bytes())
    with zipfile.ZipFile(io.BytesIO(whole)) as zipped:
        large = [info for info in zipped.infolist() if info.compress_size > 200]
    assert len(large) > 3
    for place in (info.header_offset + 60 + info.compress_size // 2 for info in large):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        file.write_bytes(damaged)
        with pytest.raises(AegisError), Backup(file) as backup:
            backup.check(quiet)


def files(folder: Path) -> dict[str, bytes]:
    """What counts in a data folder."""
    kept = [folder / "aegis.sqlite", *sorted((folder / "blobs").rglob("*"))]
    return {str(one.relative_to(folder)): one.read_bytes() for one in kept if one.is_file()}


async def staged(file: Path, folder: Path) -> None:
    """A folder with a store of its own, and the backup made ready beside it."""
    folder.mkdir()
    async with open_database(SQLiteSettings(), folder) as old:
        await upgrade(old)
    (folder / "blobs" / "aa").mkdir(parents=True)
    (folder / "blobs" / "aa" / "old").write_bytes(b"old")
    (folder / "vectors").mkdir()
    settings = Settings(data_dir=folder, _env_file=None)  # pyright: ignore[reportCallIssue]  # pydantic-settings' own
    room(folder)
    with Backup(file) as backup:
        await stage(settings, backup, quiet)


class Killed(BaseException):
    pass


def dying(left: list[int], call: Any) -> Any:
    """The same call, until there are none left."""

    def once(*arguments: Any, **more: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return call(*arguments, **more)

    return once


async def test_killed_while_places_change_the_next_start_finishes_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await staged(file, tmp_path / "made")
    wanted = files(tmp_path / "made" / "restoring")
    for killed_after in range(9):
        folder, left = tmp_path / f"var{killed_after}", [killed_after]
        shutil.copytree(tmp_path / "made", folder)
        decide(folder)
        with monkeypatch.context() as patched:
            patched.setattr(staging, "write_durably", dying(left, staging.write_durably))
            patched.setattr(Path, "rename", dying(left, Path.rename))
            patched.setattr(shutil, "rmtree", dying(left, shutil.rmtree))
            with suppress(Killed):
                finish(folder)
        finish(folder)
        assert files(folder) == wanted
        assert not (folder / "vectors").exists()
        [aside] = folder.glob("before-restore-*")
        assert (aside / "blobs" / "aa" / "old").read_bytes() == b"old"
        assert (aside / "aegis.sqlite").exists()
        finish(folder)  # nothing more to do
        assert files(folder) == wanted
        async with open_database(SQLiteSettings(), folder) as database, database.read() as connection:
            assert len((await connection.execute(select(turns.c.id))).all()) == 60
