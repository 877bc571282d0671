"""A backup, checked from end to end and put into an empty store."""

from __future__ import annotations

import base64
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy
from sqlalchemy import JSON, Table, TableClause, column, delete, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.backup import BLOBS, COMPLETE, FORMAT, MANIFEST, TABLES, Contents
from aegis.backup.writing import tables
from aegis.database import Database
from aegis.database.migrations import known
from aegis.errors import FormatTooNew, InvalidInput
from aegis.scope import content_hash
from retrieval.blobs import Blobs

ROWS = 200  # of one statement
MOST_LINE = 512_000_000  # bytes of one row

Progress = Callable[[int, int], None]
"""Called with what is done and what there is in all."""


class Backup:
    """An open file. Raises InvalidInput where it is none, is damaged or cut short, FormatTooNew from a newer one."""

    def __init__(self, file: Path) -> None:
        try:
            self._zipped = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, OSError) as error:
            raise InvalidInput(
                f"{file.name} is no backup, or was cut short: {error}. Take one that `aegis backup` finished."
            ) from error
        self._names = set(self._zipped.namelist())
        if not {MANIFEST, COMPLETE} <= self._names:
            raise InvalidInput(f"{file.name} is no backup of AegisRAG, or was cut short. Take another.")
        self.contents = self._contents()

    def __enter__(self) -> Backup:
        return self

    def __exit__(self, *_error: object) -> None:
        self._zipped.close()

    def check(self, progress: Progress) -> None:
        """Read everything once. Raises InvalidInput naming what is damaged."""
        total = len(self._names)
        for done, name in enumerate(sorted(self._names), 1):
            for _ in self._read(name):
                pass
            if name.startswith(BLOBS) and content_hash(self._whole(name)) != name.removeprefix(BLOBS):
                raise InvalidInput(f"The backup is damaged: {name} is not what was kept. Take another.")
            progress(done, total)

    def rows(self, table: Table) -> Iterator[list[dict[str, Any]]]:
        """ROWS at a time; none for a table that the backup does not know."""
        name, page = f"{TABLES}{table.name}.jsonl", list[dict[str, Any]]()
        if name not in self._names:
            return
        with self._zipped.open(name) as member:
            while line := member.readline(MOST_LINE):
                page.append(_values(table, orjson.loads(line)))
                if len(page) == ROWS:
                    yield page
                    page = []
        if page:
            yield page

    def blobs(self) -> Iterator[bytes]:
        for name in sorted(self._names):
            if name.startswith(BLOBS):
                yield self._whole(name)

    def _contents(self) -> Contents:
        try:
            told = orjson.loads(self._whole(MANIFEST))
            made_by = str(told["version"])
            if told["format"] > FORMAT or told["revision"] not in known():
                raise FormatTooNew(
                    f"The backup was made by AegisRAG {made_by[:40]}, in a form that this one does not know. "
                    "Install that version, or a newer one."
                )
            rows = {str(name): int(count) for name, count in told["rows"].items()}
            return Contents(told["revision"], made_by, str(told["made_at"]), rows, int(told["blobs"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput(f"The backup's {MANIFEST} cannot be read: {error}.") from error

    def _whole(self, name: str) -> bytes:
        return b"".join(self._read(name))

    def _read(self, name: str) -> Iterator[bytes]:
        try:
            with self._zipped.open(name) as member:
                while piece := member.read(1 << 20):
                    yield piece
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError) as error:
            raise InvalidInput(f"The backup is damaged at {name[:100]}: {error}. Take another.") from error


async def fill(database: Database, backup: Backup, progress: Progress) -> None:
    """Put the rows in the place of those that are there, in one transaction."""
    total, done = sum(backup.contents.rows.values()), 0
    async with database.write() as connection:
        for table in reversed(tables()):
            await connection.execute(delete(table))
        for table in tables():
            place = insert(_typed(table))
            for page in backup.rows(table):
                await connection.execute(place, page)
                done += len(page)
                progress(done, total)
            await _number_on(connection, table)


async def put_blobs(blobs: Blobs, backup: Backup, progress: Progress) -> None:
    for done, data in enumerate(backup.blobs(), 1):
        await blobs.put(data)
        progress(done, backup.contents.blobs)


async def _number_on(connection: AsyncConnection, table: Table) -> None:
    """PostgreSQL does not notice numbers that were given."""
    number = table.autoincrement_column
    if connection.dialect.name != "postgresql" or number is None:
        return
    sequence = f"pg_get_serial_sequence('{table.name}', '{number.name}')"
    highest = int((await connection.execute(select(func.coalesce(func.max(number), 0)))).scalar_one())
    if highest:
        await connection.execute(text(f"SELECT setval({sequence}, {highest}) WHERE {sequence} IS NOT NULL"))


def _typed(table: Table) -> TableClause:
    """The same, telling apart a JSON null from no value."""
    columns = (column(one.name, JSON(none_as_null=True) if isinstance(one.type, JSON) else one.type) for one in table.c)
    return sqlalchemy.table(table.name, *columns)


def _values(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """Columns that only the backup has are passed over."""
    return {name: _value(table.columns[name].type, value) for name, value in row.items() if name in table.columns}


def _value(kind: Any, value: Any) -> Any:
    if isinstance(kind, JSON):
        return None if value is None else (JSON.NULL if value == "null" else orjson.loads(value))
    if isinstance(value, dict) and "b64" in value:
        return base64.b64decode(value["b64"])
    if isinstance(value, dict) and "at" in value:
        return datetime.fromisoformat(value["at"])
    return value
