"""Original files, kept once each under the sha256 of their bytes, in a folder or at any fsspec address.

Written once and never changed. `put` returns when the bytes are durable, so a row that names a blob may be committed
right after. In a folder that takes a temporary file, fsync, a rename and an fsync of the folder.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from aegis.errors import DataFolderError, NotFound, StoreUnavailable
from aegis.scope import content_hash
from aegis.settings import BlobSettings

FOLDER = "blobs"
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Blobs:
    """`address`: a folder, or an fsspec address such as s3://bucket/prefix. Picklable; the `*_now` methods block."""

    address: str

    async def put(self, data: bytes) -> str:
        """Keep the bytes; their sha256. Raises StoreUnavailable."""
        return await asyncio.to_thread(self.put_now, data)

    async def get(self, digest: str) -> bytes:
        """Raises NotFound, DataFolderError when the bytes are not what was kept, StoreUnavailable."""
        return await asyncio.to_thread(self.get_now, digest)

    async def exists(self, digest: str) -> bool:
        return await asyncio.to_thread(lambda: _translated(self._exists, digest))

    async def delete(self, digest: str) -> None:
        """Nothing happens when it is not there."""
        await asyncio.to_thread(lambda: _translated(self._delete, digest))

    async def sweep(self, older_than: float) -> int:
        """Remove what writers that were killed left half written, if it is that many seconds old; how many files.

        0 where nobody else writes to the folder. Addresses that are no folder keep no half-written files.
        """
        return await asyncio.to_thread(self._sweep, older_than)

    def put_now(self, data: bytes) -> str:
        digest = content_hash(data)
        _translated(lambda: self._put(digest, data))
        return digest

    def get_now(self, digest: str) -> bytes:
        try:
            data = _translated(self._read, digest)
        except FileNotFoundError as missing:
            raise NotFound(f"The original file {digest} is not kept at {self.address}.", digest=digest) from missing
        if content_hash(data) != digest:
            raise DataFolderError(
                f"The original file {digest} at {self.address} is damaged: its sha256 does not fit. "
                "Delete it there and ingest the document again."
            )
        return data

    def _put(self, digest: str, data: bytes) -> None:
        if self._exists(digest):
            return
        folder = self._folder
        if folder is None:
            files, path = self._files(digest)
            files.pipe_file(path, data)
        else:
            write_durably(folder / _place(digest), data)

    def _read(self, digest: str) -> bytes:
        files, path = self._files(digest)
        return bytes(files.cat_file(path))

    def _exists(self, *digest: str) -> bool:
        files, path = self._files(*digest)
        return bool(files.exists(path))

    def _sweep(self, older_than: float) -> int:
        folder, now, gone = self._folder, time.time(), 0
        for file in folder.glob("??/.*.*") if folder is not None else ():
            with suppress(FileNotFoundError):  # its writer has just finished
                if now - file.stat().st_mtime >= older_than:
                    file.unlink()
                    gone += 1
        return gone

    def _delete(self, digest: str) -> None:
        files, path = self._files(digest)
        if files.exists(path):
            files.rm_file(path)

    @property
    def _folder(self) -> Path | None:
        """The folder, when the address is one."""
        files, path = self._files("")
        protocols = (files.protocol,) if isinstance(files.protocol, str) else files.protocol
        return Path(path) if "file" in protocols else None

    def _files(self, digest: str) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        files, root = url_to_fs(self.address)
        return files, f"{root}/{_place(digest)}" if digest else str(root)


def blobs_at(settings: BlobSettings, data_dir: Path) -> Blobs:
    return Blobs(settings.url or str((data_dir / FOLDER).absolute()))


def write_durably(file: Path, data: bytes) -> None:
    """The file is there whole or not at all, and stays after a power cut."""
    if not file.parent.is_dir():
        file.parent.mkdir(parents=True, exist_ok=True)
        _sync_folder(file.parent.parent)
    beside = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        with beside.open("xb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
    _sync_folder(file.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there; a rename is in the journal already
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _place(digest: str) -> str:
    return f"{digest[:2]}/{digest}"


def _translated(call: Callable[..., _Result], *args: str) -> _Result:
    try:
        return call(*args)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreUnavailable(f"The store of original files does not answer: {error}") from error
