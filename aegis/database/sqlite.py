"""A SQLite connection that costs one hop to its thread per statement.

aiosqlite takes three to five (cursor, execute, fetch, close), each of which waits for the interpreter lock and then for
the event loop; and SQLite gives that lock away at every row of an `executemany`. While the loop is busy that is what
makes a transaction long. Here a statement and its rows travel together, rows of an INSERT go in by many at a time and
nobody waits for them (what fails is raised by the next statement, or by the commit), a transaction begins with its
first statement, and a reader does not wait for its end.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Any

import aiosqlite

ROWS = 200  # rows of one INSERT: some thousand values, of 32,766 that SQLite takes
_INSERT = re.compile(r"(INSERT .* VALUES )(\((?:\?, )*\?\))(.*)", re.DOTALL)


class Connection(aiosqlite.Connection):
    """`begin` opens a transaction. A writer's `committed` is told how many seconds each has held the store."""

    def __init__(
        self, connector: Callable[[], sqlite3.Connection], begin: str, committed: Callable[[float], None] | None
    ) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._thread.daemon = True
        self._begin = begin
        self._committed = committed
        self._began = 0.0
        self._failure: Exception | None = None  # of a statement that nobody waited for

    def cursor(self) -> Cursor:  # pyright: ignore[reportIncompatibleMethodOverride]  # what SQLAlchemy asks for
        return Cursor(self)

    async def commit(self) -> None:
        await self._execute(self._commit)

    async def rollback(self) -> None:
        if self._committed is not None:
            await self._execute(self._rollback)
        elif self._running:
            self._tx.put_nowait((None, self._rollback))

    async def run(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """In the connection's thread, within a transaction."""
        await self._execute(self._within, work)

    async def send(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """The same, but returns before it is done."""
        self._tx.put_nowait((None, partial(self._unwatched, work)))
        await asyncio.sleep(0)  # others have their turn between two statements

    def _unwatched(self, work: Callable[[sqlite3.Connection], None]) -> None:
        try:
            self._within(work)
        except Exception as failure:  # noqa: BLE001 - raised by whoever comes next
            self._failure = failure

    def _within(self, work: Callable[[sqlite3.Connection], None]) -> None:
        self._raise_failure()
        if not self._conn.in_transaction:
            self._conn.execute(self._begin)
            self._began = time.perf_counter()
        work(self._conn)

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _rollback(self) -> None:
        self._failure = None
        self._conn.rollback()

    def _commit(self) -> None:
        self._raise_failure()
        held = self._conn.in_transaction
        self._conn.commit()
        if held and self._committed is not None:
            self._committed(time.perf_counter() - self._began)


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
        insert = _INSERT.fullmatch(sql)
        if insert is None:
            await self._connection.run(partial(self._many, sql, rows))
        else:
            await self._connection.send(partial(_inserted, insert.groups(), list(rows)))
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

    def _many(self, sql: str, rows: Iterable[Sequence[Any]], connection: sqlite3.Connection) -> None:
        self.rowcount = connection.executemany(sql, rows).rowcount


def _inserted(parts: Sequence[str], rows: list[Sequence[Any]], connection: sqlite3.Connection) -> None:
    head, row, tail = parts
    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        values = f"{head}{', '.join([row] * len(part))}{tail}"
        connection.execute(values, list(chain.from_iterable(part))).close()


def connecting(
    file: str, begin: str, pragmas: Sequence[str], committed: Callable[[float], None] | None = None
) -> Callable[..., Connection]:
    """For `create_async_engine(async_creator=...)`."""

    def connected() -> sqlite3.Connection:
        connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()
        return connection

    def create(*_: Any, **__: Any) -> Connection:
        return Connection(connected, begin, committed)

    return create
