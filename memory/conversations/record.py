"""A turn as JSON-able values, for every place that keeps one: rows, the hot tier, archives, exports."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

from memory.conversations import Citation, Turn, micros, plain

COLUMNS = ("id", "conversation_id", "question", "state", "answer", "feedback", "created_at")
BESIDE = ("drawn_on", "retold")  # what has a table of its own
_TUPLES = ("chunk_ids", "fact_ids", "steps", "notes", "collections")
_CITED = tuple(field.name for field in fields(Citation))
_CITATION = frozenset(_CITED)
_DEFAULTS: Mapping[str, Any] = {
    field.name: field.default if field.default is not dataclasses.MISSING else None
    for field in fields(Turn)
    if field.name not in BESIDE
}


def record_of(turn: Turn) -> dict[str, Any]:
    """What has no column of its own."""
    return {name: safe(getattr(turn, name)) for name in _DEFAULTS if name not in COLUMNS}


def turn_of(columns: Mapping[str, Any], record: Mapping[str, Any]) -> Turn:
    """Fields that an older or newer writer had are passed over."""
    known = {key: value for key, value in record.items() if key in _DEFAULTS and key not in COLUMNS}
    known["citations"] = tuple(_citation(citation) for citation in record.get("citations", ()))
    known.update({key: tuple(record.get(key) or ()) for key in _TUPLES})
    return Turn(**{key: columns[key] for key in COLUMNS}, **known)


def packed(turn: Turn) -> dict[str, Any]:
    """The whole turn; what has its default is left out. `created_at` in microseconds since 1970."""
    values = {name: safe(getattr(turn, name)) for name in _DEFAULTS if name != "created_at"}
    kept = {key: value for key, value in values.items() if value not in ([], {}, None) and value != _DEFAULTS[key]}
    if turn.created_at is not None:
        kept["created_at"] = micros(turn.created_at)
    return kept


def unpacked(values: Mapping[str, Any]) -> Turn:
    """Raises KeyError, TypeError or ValueError where they are no packed turn."""
    at = values.get("created_at")
    columns = {"state": "running", "answer": "", "feedback": None, **values}
    columns["created_at"] = None if at is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)
    return turn_of(columns, values)


def safe(value: Any) -> Any:
    """The same as every JSON column takes it: finite numbers, clean text, lists."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Citation):
        return {name: safe(getattr(value, name)) for name in _CITED}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {plain(str(key)): safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [safe(item) for item in value]
    return value if value is None or isinstance(value, bool | int) else plain(str(value))


def _citation(values: Mapping[str, Any]) -> Citation:
    return Citation(**{key: value for key, value in values.items() if key in _CITATION})
