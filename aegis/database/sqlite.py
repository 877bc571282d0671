"""A SQLite connection that costs one hop to its thread per statement.

aiosqlite takes three to five (cursor, execute, fetch, close), each of which waits for the interpreter lock and then for
the event loop; and SQLite gives that lock away at every row of an `executemany`. While the loop is busy that is what
makes a transaction long. Here a statement and its rows travel together, rows go in by many at a time, and an INSERT
that returns nothing waits until a statement that returns something, or the commit, takes it along (which then raises
what is wrong with it). A transaction begins with its first statement in the thread; a reader does not wait for its end.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from itertools import chain
from typing import Any
from weakref import WeakSet

import aiosqlite
import sqlalchemy
from sqlalchemy import create_engine, event
from sqlalchemy.pool import StaticPool

ROWS = 200  # rows of one INSERT: some thousand values, of 32,766 that SQLite takes
ENDING = 2.0  # seconds that a thread which was told to end is waited for
_INSERT = re.compile(r"(INSERT .* VALUES )(\((?:\?, )*\?\))((?!.* RETURNING ).*)", re.DOTALL)

Work = Callable[[sqlite3.Connection], None]


class Connection(aiosqlite.Connection):
    """`begin` opens a transaction. A writer's `committed` is told how many seconds each has held the store."""

    def __init__(
        self, connector: Callable[[], sqlite3.Connection], begin: str, committed: Callable[[float], None] | None
    ) -> None:
        super().__init__(self._open, iter_chunk_size=64)
        self._connect_to = connector
        self._opened: sqlite3.Connection | None = None
        self._thread.daemon = True
        self._begin = begin
        self._committed = committed
        self.writer = committed is not None
        self._began = 0.0
        self._waiting: list[Work] = []

    def stop(self) -> asyncio.Future[Any] | None:
        """Once: a thread that was told to end answers no second word, and who waits for one would wait for ever."""
        if not self._running:
            return None
        self._tx.put_nowait((None, self._shut))
        return super().stop()

    def _open(self) -> sqlite3.Connection:
        self._opened = self._connect_to()
        return self._opened

    def _shut(self) -> None:
        """Also where the task that opened it was cut off before it was told."""
        if self._opened is not None:
            self._opened.close()

    async def close(self) -> None:
        if self._running:
            await super().close()

    async def gone(self) -> None:
        """Its thread has ended, and calls no event loop that is closed since."""
        self.stop()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, ENDING)

    def cursor(self) -> Cursor:  # pyright: ignore[reportIncompatibleMethodOverride]  # what SQLAlchemy asks for
        return Cursor(self)

    async def commit(self) -> None:
        await self._execute(self._commit, self._taken())

    async def rollback(self) -> None:
        self._taken()
        if self.writer:
            await self._execute(self._conn.rollback)
        elif self._running:
            self._tx.put_nowait((None, self._conn.rollback))

    async def run(self, work: Work, *, writes: bool = True) -> None:
        """In the connection's thread, within a transaction, after what is waiting.

        What a writer reads before it writes needs none: nobody else writes (it is the only writer's connection).
        """
        waiting = self._taken()
        if writes or waiting or not self.writer:
            await self._execute(self._within, [*waiting, work])
        else:
            await self._execute(work, self._conn)

    async def wait(self, work: Work) -> None:
        """It is done with the next statement that somebody waits for, or with the commit."""
        self._waiting.append(work)
        await asyncio.sleep(0)  # others have their turn between two statements

    async def transact(self, units: Sequence[Callable[[sqlalchemy.Connection], Any]]) -> list[Any]:
        """A whole transaction in one hop, with SQLAlchemy's plain connection over this one.

        What each unit returned, or raised: it is then undone alone. A unit that is alone raises it here.
        """
        return await self._execute(self._transaction, units)

    def _transaction(self, units: Sequence[Callable[[sqlalchemy.Connection], Any]]) -> list[Any]:
        if not units:
            return []
        with self._plain.begin() as connection:
            began = time.perf_counter()
            outcomes = [units[0](connection)] if len(units) == 1 else [_apart(connection, unit) for unit in units]
        if self._committed is not None:
            self._committed(time.perf_counter() - began)
        return outcomes

    @cached_property
    def _plain(self) -> sqlalchemy.Engine:
        return plain(lambda: self._conn, self._begin)

    def _taken(self) -> list[Work]:
        taken, self._waiting = self._waiting, []
        return taken

    def _within(self, works: Sequence[Work]) -> None:
        if works and not self._conn.in_transaction:
            self._conn.execute(self._begin)
            self._began = time.perf_counter()
        for work in works:
            work(self._conn)

    def _commit(self, works: Sequence[Work]) -> None:
        self._within(works)
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
        insert = self._connection.writer and _INSERT.fullmatch(sql)
        if not insert:
            await self._connection.run(partial(self._one, sql, parameters), writes=not sql.startswith("SELECT"))
        else:
            await self._connection.wait(partial(_inserted, insert.groups(), [parameters]))
        return self

    async def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> Cursor:
        insert = self._connection.writer and _INSERT.fullmatch(sql)
        if not insert:
            await self._connection.run(partial(self._many, sql, rows))
        else:
            await self._connection.wait(partial(_inserted, insert.groups(), list(rows)))
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


def _apart(connection: sqlalchemy.Connection, unit: Callable[[sqlalchemy.Connection], Any]) -> Any:
    try:
        with connection.begin_nested():
            return unit(connection)
    except Exception as error:  # noqa: BLE001  # the one who waits for this unit gets it
        return error


def _inserted(parts: Sequence[str], rows: list[Sequence[Any]], connection: sqlite3.Connection) -> None:
    head, row, tail = parts
    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        values = f"{head}{', '.join([row] * len(part))}{tail}"
        connection.execute(values, list(chain.from_iterable(part))).close()


def connected(file: str, pragmas: Sequence[str]) -> sqlite3.Connection:
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()
    except BaseException:  # such as a file that is locked
        connection.close()
        raise
    return connection


class Connecting:
    """For `create_async_engine(async_creator=...)`."""

    def __init__(
        self, file: str, begin: str, pragmas: Sequence[str], committed: Callable[[float], None] | None = None
    ) -> None:
        self._create = partial(Connection, partial(connected, file, pragmas), begin, committed)
        self._made: WeakSet[Connection] = WeakSet()

    def __call__(self, *_: Any, **__: Any) -> Connection:
        made = self._create()
        self._made.add(made)
        return made

    async def gone(self) -> None:
        """After the engine is disposed of, which knows nothing of connections that tasks were giving back."""
        for connection in list(self._made):
            await connection.gone()


def plain(creator: Callable[[], sqlite3.Connection], begin: str) -> sqlalchemy.Engine:
    """SQLAlchemy without its asynchronous layer, over one connection: whoever uses it does so one at a time."""
    engine = create_engine("sqlite://", creator=creator, poolclass=StaticPool, hide_parameters=True)

    def begun(connection: sqlalchemy.Connection) -> None:
        raw: Any = connection.connection.dbapi_connection
        raw.execute(begin).close()

    def many(cursor: Any, sql: str, rows: Sequence[Sequence[Any]], _context: object) -> bool:
        """Whether it was done here: rows go in many at a time."""
        insert = _INSERT.fullmatch(sql)
        if insert:
            _inserted(insert.groups(), list(rows), cursor.connection)
        return insert is not None

    event.listen(engine, "begin", begun)
    event.listen(engine, "do_executemany", many)
    return engine
