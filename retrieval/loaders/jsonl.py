"""JSON lines: one record a line."""

from __future__ import annotations

from retrieval.loaders.json import read_lines as read

__all__ = ["read"]
