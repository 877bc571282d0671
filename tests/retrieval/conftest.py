"""What the relational half of retrieval does is the same on both engines: PostgreSQL with the `servers` mark."""

from __future__ import annotations

import pytest

from aegis.database import Database


@pytest.fixture
def database(any_database: Database) -> Database:
    return any_database
