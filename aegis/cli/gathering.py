"""Files to be taken in: found in folders, looked at, put together in batches."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

BATCH_FILES = 200
BATCH_BYTES = 50_000_000
MOST_SOURCE = 2000  # characters of an address that the API takes


@dataclass(slots=True)
class Gathered:
    """Files to send, and what was passed over with the reason."""

    files: list[Path] = field(default_factory=list[Path])
    refused: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    def refuse(self, path: Path, reason: str) -> None:
        self.refused.append({"source": str(path), "state": "failed", "reason": reason})


def gather(paths: Sequence[Path], max_bytes: int, known: frozenset[str]) -> Gathered:
    """Files named are always taken; from folders (recursively) those with a known suffix, hidden ones left out.

    Paths come out absolute and without `..`, so that a file is the same from wherever it is named.
    """
    found = Gathered()
    for path in paths:
        place = Path(os.path.abspath(path))
        if os.path.isdir(place):
            _walk(place, found, known)
        else:
            found.files.append(place)
    found.files = [file for file in dict.fromkeys(found.files) if _acceptable(file, found, max_bytes)]
    return found


def known_files(paths: Sequence[Path]) -> list[Path]:
    """Those of them that are files of a kind that is taken from folders."""
    from retrieval.loaders.formats import supported_extensions

    known = supported_extensions()
    return [path for path in paths if path.suffix.lower() in known and path.is_file()]


def _walk(folder: Path, found: Gathered, known: frozenset[str]) -> None:
    def unreadable(error: OSError) -> None:
        found.refuse(Path(error.filename), f"The folder cannot be read ({error.strerror}).")

    for place, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in known:
                found.files.append(Path(place) / name)


def _acceptable(file: Path, found: Gathered, max_bytes: int) -> bool:
    reason = _objection(file, max_bytes)
    if reason:
        found.refuse(file, reason)
    return not reason


def _objection(file: Path, max_bytes: int) -> str:
    """Why it cannot be sent; empty when it can. Nothing is opened that is not a file: a pipe would never answer."""
    try:
        seen = file.stat()
        if not stat.S_ISREG(seen.st_mode):
            return "It is not a file but a pipe, socket or device."
        with file.open("rb"):
            pass
    except FileNotFoundError:
        return "It is a link that leads nowhere." if file.is_symlink() else "There is no such file or folder."
    except OSError as error:
        return f"The file cannot be read ({error.strerror})."
    if seen.st_size > max_bytes:
        return too_large(f"{seen.st_size:,}", max_bytes)
    if len(file.as_uri()) > MOST_SOURCE:
        return f"Its address is longer than {MOST_SOURCE:,} characters. Move it to a shorter path."
    return ""


def too_large(size: str, max_bytes: int) -> str:
    return f"The file has {size} bytes; at most {max_bytes:,} are taken (AEGIS_INGESTION__MAX_FILE_BYTES)."


def batches(
    files: Sequence[Path], most_files: int = BATCH_FILES, most_bytes: int = BATCH_BYTES
) -> Iterator[list[Path]]:
    """Runs of files that fit one request."""
    batch: list[Path] = []
    size = 0
    for file in files:
        length = _size(file)
        if batch and (len(batch) >= most_files or size + length > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += length
    if batch:
        yield batch


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # gone since; reading it says so
        return 0
