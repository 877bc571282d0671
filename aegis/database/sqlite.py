"""A SQLite connection that costs one hop to its thread per statement.

aiosqlite takes three to five hops (cursor, execute, fetch, close), each of which waits for the interpreter lock and then
for the event loop; and SQLite gives the lock away at every row of an `executemany`. While the loop is busy that is what
makes a transaction long. Here a statement and its rows travel together, rows of an INSERT go in by many at a time,
a transaction begins with its first statement, and a reader does not wait for its end.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Any

import aiosqlite

ROWS = 200  # rows of one INSERT: some thousand values, of 32,766 that SQLite takes
_INSERT = re.compile(r"(INSERT .* VALUES )(\((?:\?, )*\?\))(.*)", re.DOTALL)


class Connection(aiosqlite.Connection):
    """`begin` opens a transaction; a connection whose `begin` writes waits for its rollback."""

    def __init__(self, connector: Callable[[], sqlite3.Connection], begin: str, *, writes: bool) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._thread.daemon = True
        self._begin = begin
        self._writes = writes

    def cursor(self) -> Cursor:  # pyright: ignore[reportIncompatibleMethodOverride]  # what SQLAlchemy asks for
        return Cursor(self)

    async def rollback(self) -> None:
        if self._writes:
            await super().rollback()
        elif self._running:
            self._tx.put_nowait((None, self._conn.rollback))

    async def run(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """In the connection's thread, within a transaction."""
        return await self._execute(partial(self._within, work))

    def _within(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        if not self._conn.in_transaction:
            self._conn.execute(self._begin)
        return work(self._conn)


class Cursor:
    """What SQLAlchemy's dialect asks of a driver's cursor."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def __aenter__(self) -> Cursor:
        return self

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Cursor:
        await self._connection.run(partial(self._one, sql, parameters))
        return self

    async def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> Cursor:
        await self._connection.run(partial(self._many, sql, list(rows)))
        return self

    async def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        self._rows = []

    def _one(self, sql: str, parameters: Sequence[Any], connection: sqlite3.Connection) -> None:
        cursor = connection.execute(sql, parameters)
        self.description, self.lastrowid = cursor.description, cursor.lastrowid
        self._rows = cursor.fetchall() if cursor.description else []
        self.rowcount = cursor.rowcount
        cursor.close()

    def _many(self, sql: str, rows: list[Sequence[Any]], connection: sqlite3.Connection) -> None:
        insert = _INSERT.fullmatch(sql)
        if insert is None or len(rows) < 2:
            self.rowcount = connection.executemany(sql, rows).rowcount
            return
        head, row, tail = insert.groups()
        self.rowcount = 0
        for start in range(0, len(rows), ROWS):
            part = rows[start : start + ROWS]
            values = f"{head}{', '.join([row] * len(part))}{tail}"
            self.rowcount += connection.execute(values, list(chain.from_iterable(part))).rowcount


def connecting(file: str, begin: str, pragmas: Sequence[str], *, writes: bool) -> Callable[..., Connection]:
    """For `create_async_engine(async_creator=...)`."""

    def connected() -> sqlite3.Connection:
        connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()
        return connection

    def create(*_: Any, **__: Any) -> Connection:
        return Connection(connected, begin, writes=writes)

    return create
