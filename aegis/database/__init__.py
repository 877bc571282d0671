"""The one truth: a relational store, its outbox and leases.

Tables stand beside their noun (`retrieval/tables.py`, `memory/conversations/tables.py`, ...), all on `metadata`.
"""

from aegis.database.engine import Database, open_database
from aegis.database.schema import NAMES_BLOB, Timestamp, metadata

__all__ = ["NAMES_BLOB", "Database", "Timestamp", "metadata", "open_database"]
