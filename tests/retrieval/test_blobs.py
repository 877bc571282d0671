"""Original files: kept once, whole or not at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from aegis.errors import DataFolderError, NotFound, StoreUnavailable
from aegis.scope import content_hash
from aegis.settings import BlobSettings
from retrieval.blobs import Blobs, blobs_at


@pytest.fixture(params=["folder", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "blobs") if request.param == "folder" else f"memory://{tmp_path}")


async def test_what_is_kept_comes_back(blobs: Blobs) -> None:
    digest = await blobs.put(b"some bytes")
    assert digest == content_hash(b"some bytes")
    assert await blobs.put(b"some bytes") == digest
    assert await blobs.get(digest) == b"some bytes"
    assert await blobs.exists(digest)
    await blobs.delete(digest)
    await blobs.delete(digest)
    assert not await blobs.exists(digest)
    with pytest.raises(NotFound, match=digest):
        await blobs.get(digest)


async def test_nothing_but_the_file_is_left(tmp_path: Path) -> None:
    digest = await blobs_at(BlobSettings(), tmp_path).put(b"x")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [tmp_path / "blobs" / digest[:2] / digest]


async def test_damage_is_noticed(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    digest = await blobs.put(b"right")
    (tmp_path / digest[:2] / digest).write_bytes(b"wrong")
    with pytest.raises(DataFolderError, match="damaged"):
        await blobs.get(digest)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a folder that takes no files")
async def test_a_place_that_takes_nothing_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailable):
        await Blobs(os.fspath(tmp_path / "file" / "blobs")).put(b"x")


async def test_what_a_killed_writer_left_is_swept_away(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    digest = await blobs.put(b"whole")
    left = tmp_path / digest[:2] / f".{digest}.0123456789abcdef"
    left.write_bytes(b"ha")
    assert await blobs.sweep(older_than=3600) == 0
    assert await blobs.sweep(older_than=0) == 1
    assert not left.exists()
    assert await blobs.get(digest) == b"whole"
