from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from aegis.errors import DataFolderError, FolderInUse, FormatTooNew
from aegis.folder import FORMAT, current_owner, own_folder, record_format, recorded_format

HOLDER = """
import asyncio, sys
from pathlib import Path
from aegis.folder import own_folder

async def main():
    async with own_folder(Path(sys.argv[1]), "serve", "http://127.0.0.1:8000"):
        print("held", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_second_owner_is_refused_by_name(tmp_path: Path) -> None:
    async with own_folder(tmp_path, "serve", "http://127.0.0.1:8000"):
        with pytest.raises(FolderInUse, match=r"aegis serve.*8000.*AEGIS_DATA_DIR"):
            async with own_folder(tmp_path, "ingest"):
                pass
    async with own_folder(tmp_path, "ingest"):
        pass


async def test_a_killed_owner_leaves_the_folder_free(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        owner = current_owner(tmp_path)
        assert owner is not None
        assert owner.pid == holder.pid
        holder.kill()
    assert current_owner(tmp_path) is None  # owner.json is still there, the lock is not
    async with own_folder(tmp_path, "ingest", patience=5):
        pass


async def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "format.json").write_text(json.dumps({"format": FORMAT + 1}))
    with pytest.raises(FormatTooNew, match="newer AegisRAG"):
        async with own_folder(tmp_path, "serve"):
            pass


async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataFolderError, match="AEGIS_DATA_DIR"):
        async with own_folder(tmp_path / "file" / "var", "serve"):
            pass


def test_the_format_is_recorded(tmp_path: Path) -> None:
    record_format(tmp_path, embedder="wordllama-256")
    assert recorded_format(tmp_path) == {"format": FORMAT, "embedder": "wordllama-256"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
async def test_a_new_folder_is_nobody_elses_to_read(tmp_path: Path) -> None:
    async with own_folder(tmp_path / "var", "serve"):
        assert stat.S_IMODE((tmp_path / "var").stat().st_mode) == 0o700
    (tmp_path / "shared").mkdir(mode=0o755)
    async with own_folder(tmp_path / "shared", "serve"):
        assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o755
