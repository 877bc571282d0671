"""What `Database.look` runs on the event loop must find its rows by an index, in whatever test it is run."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event

ONE_ROW = {"epochs"}  # tables that stay so small that a scan is the shortest way
_FIRST = re.compile(r"^(?!.*\bWHERE\b).*\bLIMIT \?", re.DOTALL)  # the first rows, whichever they are, are found at once
_SCANNED = re.compile(r"SCAN (\w+)")


@contextmanager
def looked_up() -> Generator[set[str]]:
    """Every statement of a look is explained; one that scans a table raises. Yields the statements, as they come."""
    seen: set[str] = set()

    def explain(asked: Connection, _cursor: object, sql: str, values: Any, *_: object) -> None:
        raw: Any = asked.connection.dbapi_connection
        if not isinstance(raw, sqlite3.Connection) or sql in seen or not raw.execute("PRAGMA query_only").fetchone()[0]:
            return  # of a reader, which waits in its own thread, or a writer
        seen.add(sql)
        plan = [str(row[-1]) for row in raw.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
        if _FIRST.search(sql) and not any("TEMP B-TREE" in step for step in plan):
            return
        scanned = {found[1] for step in plan if (found := _SCANNED.match(step))} - ONE_ROW - {"CONSTANT"}
        assert not scanned, f"the event loop waits while {scanned} are read as a whole: {plan} {sql}"

    event.listen(Engine, "before_cursor_execute", explain)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", explain)
