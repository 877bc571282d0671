"""A restored store takes the place of the one in the data folder: whole or not at all, wherever it is killed.

Everything is made ready in `restoring/` first. Then a note is written, which is the moment that counts: whoever opens
the folder next, the same server or one started after a crash, moves what was there to `before-restore-TIME/`, what
was restored into its place, and removes the note. Indexes are only removed: they are rebuilt.
"""

from __future__ import annotations

import json
import logging
import shutil
from datetime import UTC, datetime
from pathlib import Path

from aegis.backup.reading import Backup, Progress, fill, put_blobs
from aegis.database.engine import SQLITE_FILE, open_database
from aegis.database.migrations import upgrade
from aegis.settings import Settings, SQLiteSettings
from retrieval.blobs import FOLDER as BLOBS
from retrieval.blobs import Blobs, blobs_at, write_durably

STAGED, NOTE = "restoring", "restore.json"
_MOVED = (SQLITE_FILE, f"{SQLITE_FILE}-wal", f"{SQLITE_FILE}-shm", BLOBS)
_REBUILT = ("vectors", "facts")

logger = logging.getLogger(__name__)


def room(folder: Path) -> Path:
    """An empty place for what is being restored, on the same disk."""
    staged = folder / STAGED
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(mode=0o700, parents=True)
    return staged


async def stage(settings: Settings, backup: Backup, progress: Progress) -> None:
    """Make the store ready in `restoring/`; blobs kept elsewhere are written where they belong, which harms nothing."""
    staged = settings.folder / STAGED
    async with open_database(SQLiteSettings(), staged) as database:
        await upgrade(database)
        await fill(database, backup, progress)
    elsewhere = settings.blobs.url
    kept = blobs_at(settings.blobs, settings.folder) if elsewhere else Blobs(str(staged / BLOBS))
    await put_blobs(kept, backup, progress)
    if not elsewhere:
        (staged / BLOBS).mkdir(exist_ok=True)


def decide(folder: Path) -> None:
    """From here on the restored store is the one that counts."""
    aside = f"before-restore-{datetime.now(UTC):%Y%m%d%H%M%S}"
    _note(folder, {"phase": "aside", "aside": aside})


def finish(folder: Path) -> None:
    """Do what a note asks for. Called by the owner of the folder before anything in it is opened."""
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    aside, staged = folder / note["aside"], folder / STAGED
    aside.mkdir(exist_ok=True)
    moved = [name for name in _MOVED if name != BLOBS or (staged / BLOBS).exists() or (aside / BLOBS).exists()]
    if note["phase"] == "aside":
        _move(moved, folder, aside)
        for index in _REBUILT:
            shutil.rmtree(folder / index, ignore_errors=True)
        _note(folder, {**note, "phase": "in"})
    _move(moved, staged, folder)
    (folder / NOTE).unlink()
    shutil.rmtree(staged, ignore_errors=True)
    logger.info("A backup was restored; what was there before is in %s", aside)


def _move(names: list[str], source: Path, target: Path) -> None:
    for name in names:
        if (source / name).exists():
            (source / name).rename(target / name)


def _note(folder: Path, note: dict[str, str]) -> None:
    write_durably(folder / NOTE, json.dumps(note).encode())
