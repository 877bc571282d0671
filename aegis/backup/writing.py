"""A backup, written as a stream from one moment's view of the relational store, while everything goes on."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import zipfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import IO, Any

import orjson
from sqlalchemy import JSON, Column, Table, Text, cast, func, select, true, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.backup import BLOBS, COMPLETE, FORMAT, LEFT_OUT, MANIFEST, TABLES, Contents
from aegis.database import NAMES_BLOB, Database, metadata
from aegis.database.migrations import newest
from aegis.errors import AegisError, DataFolderError, NotFound
from retrieval.blobs import Blobs

PAGE = 500  # rows read at a time
PIECE = 1 << 18  # bytes handed on at a time

logger = logging.getLogger(__name__)


class _Pipe(io.RawIOBase):
    """What a ZipFile writes, until it is taken away."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.held = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self.held += len(part)
        return len(part)

    def take(self) -> bytes:
        taken, self._parts, self.held = b"".join(self._parts), [], 0
        return taken


async def backed_up(database: Database, blobs: Blobs) -> AsyncGenerator[bytes]:
    """The file, piece by piece. Raises StoreUnavailable and DataFolderError, also after the first piece."""
    pipe = _Pipe()
    zipped = zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    async with database.read() as connection:
        if connection.dialect.name == "postgresql":
            await connection.execution_options(isolation_level="REPEATABLE READ")
        contents, digests = await _contents(connection)
        _member(zipped, MANIFEST, _manifest(contents))
        for table in tables():
            async for lines in _rows(connection, table, zipped):
                await asyncio.to_thread(lines)
                if pipe.held > PIECE:
                    yield pipe.take()
    lost = 0
    for digest in digests:
        data = await _blob(blobs, digest)
        lost += data is None
        if data is not None:
            await asyncio.to_thread(_member, zipped, BLOBS + digest, data)
        if pipe.held > PIECE:
            yield pipe.take()
    _member(zipped, COMPLETE, orjson.dumps({"lost": lost}))
    zipped.close()
    yield pipe.take()


def tables() -> Sequence[Table]:
    """Those that are kept, each after those it refers to."""
    return [table for table in metadata.sorted_tables if table.name not in LEFT_OUT]


async def _contents(connection: AsyncConnection) -> tuple[Contents, list[str]]:
    rows = {
        str(table.name): int((await connection.execute(select(func.count()).select_from(table))).scalar_one())
        for table in tables()
    }
    digests = sorted({digest for table in tables() for digest in await _named(connection, table)})
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    return Contents(newest(), version("aegisrag"), made_at, rows, len(digests)), digests


async def _named(connection: AsyncConnection, table: Table) -> list[str]:
    found: list[str] = []
    for column in table.columns:
        if column.info == NAMES_BLOB:
            query = select(column).distinct().where(column.is_not(None))
            found += [digest for digest in (await connection.execute(query)).scalars() if digest]
    return found


def _manifest(contents: Contents) -> bytes:
    told = {"revision": contents.revision, "version": contents.version, "made_at": contents.made_at}
    return orjson.dumps({"format": FORMAT, **told, "rows": dict(contents.rows), "blobs": contents.blobs})


async def _rows(connection: AsyncConnection, table: Table, zipped: zipfile.ZipFile) -> AsyncGenerator[Any]:
    """Work for a thread, one page at a time. JSON columns travel as their text, so that every store writes its own."""
    columns = [cast(column, Text).label(column.name) if _is_json(column) else column for column in table.columns]
    keys = list(table.primary_key.columns)
    with zipped.open(f"{TABLES}{table.name}.jsonl", "w", force_zip64=True) as member:
        query, page = select(*columns).order_by(*keys).limit(PAGE), list[dict[str, Any]]()
        while True:
            after = tuple_(*keys) > tuple_(*(page[-1][key.name] for key in keys)) if page else true()
            page = [dict(row) for row in (await connection.execute(query.where(after))).mappings()]
            yield partial(_write, member, page)
            if len(page) < PAGE:
                return


def _write(member: IO[bytes], rows: Sequence[Mapping[str, Any]]) -> None:
    member.write(b"".join(_line(row) for row in rows))


def _line(row: Mapping[str, Any]) -> bytes:
    return orjson.dumps({str(key): _plain(value) for key, value in row.items()}) + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"at": value.isoformat()}
    return value


def _is_json(column: Column[Any]) -> bool:
    return isinstance(column.type, JSON)


def _member(zipped: zipfile.ZipFile, name: str, data: bytes) -> None:
    with zipped.open(name, "w", force_zip64=True) as member:
        member.write(data)


async def _blob(blobs: Blobs, digest: str) -> bytes | None:
    """None for one that nobody can have any more: its document was erased while the backup was written."""
    try:
        return await blobs.get(digest)
    except NotFound:
        logger.warning("The file %s is named but not kept; the backup goes on without it", digest)
        return None
    except DataFolderError as error:
        raise AegisError(f"The backup stops at a damaged file: {error.message}") from error
