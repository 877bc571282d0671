"""Long work on the whole store."""

from __future__ import annotations

from typing import Literal

from api.schemas import Answer


class RestoreAnswer(Answer):
    """`done` of `total`: members of the file, rows or chunks, by phase. `message` says why it failed."""

    phase: Literal["none", "receiving", "checking", "restoring", "switching", "indexing", "done", "failed"]
    running: bool
    done: int
    total: int
    message: str


class RebuildAnswer(Answer):
    """`done` of `total` chunks; `total` is 0 before it is known."""

    running: bool
    done: int
    total: int


class ReindexAnswer(Answer):
    """`waits` is why it does not go on just now, or why it ended unfinished."""

    embedder: str
    running: bool
    done: int
    total: int
    waits: str | None
