"""The data folder: one owner at a time, by an operating-system file lock, and a format it records.

`owner.json` tells who owns it and where that server answers; it counts only while the lock is held.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from aegis.errors import DataFolderError, FolderInUse, FormatTooNew
from aegis.scope import new_id

FORMAT = 1
LOCK_FILE = "lock"
OWNER_FILE = "owner.json"
FORMAT_FILE = "format.json"
HOLDER_FILE = "holder"
OPERATOR_FILE = "operator_key"
OPERATOR_HEADER = "X-Aegis-Operator"
GLANCE = 0.3  # seconds after which a lock is held by an owner: who only looks holds it for less


@dataclass(frozen=True, slots=True)
class Owner:
    """`url` is empty for a command that serves nobody."""

    pid: int
    command: str
    url: str
    since: float

    def __str__(self) -> str:
        where = f" at {self.url}" if self.url else ""
        return f"`aegis {self.command}`{where} (process {self.pid})"


def read_owner(folder: Path) -> Owner | None:
    """Who wrote `owner.json`; whether they still hold the lock is another question."""
    try:
        return Owner(**json.loads((folder / OWNER_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def current_owner(folder: Path) -> Owner | None:
    """Who owns the folder now, without taking it."""
    try:
        if not (folder / LOCK_FILE).exists():
            return None
        with FileLock(folder / LOCK_FILE).acquire(timeout=GLANCE):
            return None
    except Timeout:
        return read_owner(folder) or Owner(0, "?", "", 0.0)
    except OSError:  # not ours to open; taking it says why
        return None


def in_use(folder: Path, owner: Owner | None) -> FolderInUse:
    return FolderInUse(
        f"The data folder {folder} is in use by {owner or 'another process'}. "
        "Stop it, or set another folder with AEGIS_DATA_DIR."
    )


@asynccontextmanager
async def own_folder(folder: Path, command: str, url: str = "", patience: float = 0.0) -> AsyncGenerator[Path]:
    """Own the folder until the end; `patience` is how many seconds to wait for another owner to leave.

    Raises FolderInUse naming the owner, FormatTooNew, and DataFolderError when it cannot be written.
    """
    lock = FileLock(folder / LOCK_FILE, thread_local=False)  # taken and released in different threads
    try:
        await asyncio.to_thread(_acquire, lock, folder, patience)
    except Timeout:
        raise in_use(folder, read_owner(folder)) from None
    except OSError as error:
        raise DataFolderError(
            f"The data folder {folder} cannot be written ({error.strerror}). Choose another with AEGIS_DATA_DIR."
        ) from error
    try:
        _check_format(folder)
        owner = Owner(os.getpid(), command, url, time.time())
        _write_json(folder / OWNER_FILE, asdict(owner))
        yield folder
    finally:
        (folder / OWNER_FILE).unlink(missing_ok=True)
        lock.release()


def share_folder(folder: Path) -> None:
    """For those that keep only write-once files there, and may be many. Raises DataFolderError, FormatTooNew."""
    try:
        _made(folder)
    except OSError as error:
        raise DataFolderError(
            f"The data folder {folder} cannot be written ({error.strerror}). Choose another with AEGIS_DATA_DIR."
        ) from error
    _check_format(folder)


def holder_of(folder: Path) -> str:
    """The name under which the folder's owner holds leases: the same after a crash, so that nothing waits for one."""
    file = folder / HOLDER_FILE
    with contextlib.suppress(OSError, ValueError):
        return str(uuid.UUID(file.read_text(encoding="ascii")))
    made = new_id()
    file.write_text(made, encoding="ascii")
    return made


def operator_key(folder: Path) -> str:
    """Shows that its bearer can read this folder, and so everything in it anyway. Raises OSError."""
    return secret_in(folder, OPERATOR_FILE)


def secret_in(folder: Path, name: str) -> str:
    """Made once per data folder, readable by its owner alone. Raises OSError."""
    file = folder / name
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        kept = file.read_text(encoding="ascii").strip()
        if len(kept) >= 32:
            return kept
        file.unlink()  # cut short by a crash
        return secret_in(folder, name)
    with os.fdopen(handle, "w", encoding="ascii") as opened:
        opened.write(secrets.token_urlsafe(48))
    return file.read_text(encoding="ascii").strip()


def recorded_format(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / FORMAT_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def record_format(folder: Path, **parts: str) -> None:
    """Note what wrote this folder: schema revision, engine versions, embedder."""
    _write_json(folder / FORMAT_FILE, {"format": FORMAT, **parts})


def _made(folder: Path) -> None:
    """Readable by nobody else, unless somebody made it before and wants it otherwise."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _acquire(lock: FileLock, folder: Path, patience: float) -> None:
    _made(folder)
    lock.acquire(timeout=max(patience, GLANCE))


def _check_format(folder: Path) -> None:
    written = recorded_format(folder).get("format", FORMAT)
    if written > FORMAT:
        raise FormatTooNew(
            f"The data folder {folder} has format {written}, this AegisRAG knows up to {FORMAT}. "
            "Install the newer AegisRAG, or set another folder with AEGIS_DATA_DIR."
        )


def _write_json(file: Path, value: dict[str, Any]) -> None:
    """Replace the file in one step, so that a reader never sees half of it."""
    new = file.with_suffix(".new")
    with new.open("w", encoding="utf-8") as handle:
        json.dump(value, handle, indent=1)
        handle.flush()
        os.fsync(handle.fileno())
    new.replace(file)
