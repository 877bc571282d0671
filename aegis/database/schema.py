"""What every table shares: one MetaData with a naming convention, and a time type that is UTC on every engine."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Integer, MetaData, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# `info` of a column whose values name blobs: a backup takes these along.
NAMES_BLOB = {"names_blob": True}

# SQLite only increments a key declared INTEGER; PostgreSQL wants eight bytes.
Sequence = BigInteger().with_variant(Integer(), "sqlite")


@cache
def insert_missing(table: Table, dialect: str) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that passes over rows that are there already, by whatever key."""
    if dialect == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


class Timestamp(TypeDecorator[datetime]):
    """Aware datetimes in, aware UTC datetimes out, kept as microseconds since 1970 so that they sort and compare."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        delta = value - datetime(1970, 1, 1, tzinfo=UTC)
        return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds

    def process_result_value(self, value: int | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        seconds, micros = divmod(value, 1_000_000)
        return datetime.fromtimestamp(seconds, tz=UTC).replace(microsecond=micros)
