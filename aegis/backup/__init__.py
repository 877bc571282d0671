"""Backups: one file with everything that must not be lost, readable on any machine and by any relational store.

A ZIP archive: `manifest.json`, one member of JSON lines for each table, the blobs by their sha256, and last of all
`complete.json`, without which it was cut short. Indexes are left out: they are rebuilt, without a model call.
`writing.py` makes it, `reading.py` checks it and fills a store from it, `staging.py` puts it in the place of a folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FORMAT = 1
MANIFEST, COMPLETE = "manifest.json", "complete.json"
TABLES, BLOBS = "tables/", "blobs/"
# What belongs to processes, not to the truth. The outbox stays: facts are drawn from what stands in it.
LEFT_OUT = frozenset({"alembic_version", "leases"})


@dataclass(frozen=True, slots=True)
class Contents:
    """`rows` by table."""

    revision: str
    version: str
    made_at: str
    rows: Mapping[str, int]
    blobs: int
