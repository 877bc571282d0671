"""JSON and JSON lines: every value with the path that leads to it, records one after another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from aegis.errors import TooLarge, UnreadableDocument
from retrieval.loaders.charset import decode
from retrieval.loaders.cleaning import one_line
from retrieval.loaders.document import Reading
from retrieval.loaders.draft import Draft

MAX_VALUES = 2_000_000
MAX_DEPTH = 100
_SHORT = 60  # characters of values that go on one line with their neighbours


def read(data: bytes) -> Reading:
    """A list of objects is read as records, anything else as one."""
    value = parsed(data)
    records = value if isinstance(value, list) else [value]
    return _reading(enumerate(records, 1), "record " if len(records) > 1 else None)


def read_lines(data: bytes) -> Reading:
    return _reading(_lines(decode(data).removeprefix("\ufeff")), "line ")


def parsed(data: bytes) -> Any:
    """Raises UnreadableDocument, naming the place."""
    try:
        return json.loads(decode(data).removeprefix("\ufeff"), parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise UnreadableDocument(f"Line {error.lineno}, column {error.colno}: it is no JSON ({error.msg}).") from error
    except ValueError as error:  # integers of thousands of digits
        raise UnreadableDocument(f"It is no JSON that can be read: {error}") from error


def _constant(name: str) -> Any:
    raise UnreadableDocument(f"{name} is no JSON value.")


def _lines(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                raise UnreadableDocument(f"Line {number} is no JSON: {error}") from error


def _reading(records: Iterator[tuple[int, Any]] | enumerate[Any], label: str | None) -> Reading:
    draft, count = Draft(), 0
    for number, record in records:
        lines = list[str]()
        for path, value in _values(record, "", 0):
            count += 1
            if count > MAX_VALUES:
                raise TooLarge(f"The file holds more than {MAX_VALUES:,} values. Split it.", limit=MAX_VALUES)
            _place(lines, f"{path}: {value}" if path else value)
        if label is not None:
            draft.page(f"{label}{number}")
        draft.add("\n".join(lines))
    return Reading(draft.text, pages=tuple(draft.pages))


def _place(lines: list[str], entry: str) -> None:
    """Short entries share a line, so that a record reads like a row."""
    if lines and len(entry) <= _SHORT and len(lines[-1]) <= 4 * _SHORT and "\n" not in lines[-1]:
        lines[-1] += f" | {entry}"
    else:
        lines.append(entry)


def _values(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth > MAX_DEPTH:
        raise UnreadableDocument(f"The JSON is nested more than {MAX_DEPTH} levels deep.")
    if isinstance(value, dict):
        for key, inner in value.items():
            name = one_line(str(key))
            yield from _values(inner, f"{path}.{name}" if path else name, depth + 1)
    elif isinstance(value, list):
        if all(not isinstance(inner, dict | list) for inner in value):
            if value:
                yield path, ", ".join(map(_shown, value))
            return
        for number, inner in enumerate(value, 1):
            yield from _values(inner, f"{path}[{number}]", depth + 1)
    elif value is not None and value != "":
        yield path, _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return value if isinstance(value, str) else f"{value}"
