"""The one truth: a relational store, its outbox and leases.

Tables stand beside their noun (`retrieval/catalogue.py`, `memory/conversations/tables.py`, ...), all on `metadata`.
"""

from aegis.database.engine import Database, open_database
from aegis.database.schema import Timestamp, metadata

__all__ = ["Database", "Timestamp", "metadata", "open_database"]
