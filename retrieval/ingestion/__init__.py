"""The face of ingestion that the edges use: submit, watch, cancel, remove. Jobs run behind it (`jobs.py`)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from aegis.scope import DEFAULT_COLLECTION, Scope

JobState = Literal["queued", "running", "done", "failed", "cancelled"]
FileState = Literal["queued", "running", "written", "done", "unchanged", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Upload:
    """One file to take in. `source` is its identity: the URI of a path, or `upload:` and a name."""

    source: str
    data: bytes
    title: str | None = None
    collection: str = DEFAULT_COLLECTION
    tags: tuple[str, ...] = ()
    private: bool = False  # from now on; False leaves a document that is there as it is


@dataclass(frozen=True, slots=True)
class FileReport:
    source: str
    state: FileState
    document_id: str | None
    chunks: int
    code: str | None  # error code, when it failed or waits
    reason: str | None  # what is wrong and what to do
    stage: str | None  # reading, embedding, writing, publishing
    warning: str | None = None  # it was taken in, but: "12 of 40 pages have no text"


@dataclass(frozen=True, slots=True)
class Job:
    """`files`, `done` and `chunks` count this job's; `seconds_left` is an estimate, None before there is one."""

    id: str
    state: JobState
    files: int
    done: int
    chunks: int
    unchanged: int
    failures: Sequence[FileReport]
    seconds_left: float | None
    created_at: datetime
    updated_at: datetime
    warnings: Sequence[FileReport] = ()  # files that were taken in although something is wrong with their text
    waits: FileReport | None = None  # a file that waits for something that is away, and the reason


class Ingestion(Protocol):
    async def submit(self, scope: Scope, uploads: Sequence[Upload]) -> Job:
        """Originals and job are durable on return. Raises InvalidInput, TooLarge, Forbidden, Overloaded."""
        ...

    async def job(self, scope: Scope, job_id: str) -> Job:
        """Raises NotFound."""
        ...

    async def jobs(self, scope: Scope, *, limit: int = 50, before: str = "") -> Sequence[Job]:
        """Newest first; those older than the job `before`."""
        ...

    async def files(
        self, scope: Scope, job_id: str, *, after: int = 0, limit: int | None = None
    ) -> Sequence[FileReport]:
        """What became of each file, those from number `after` on."""
        ...

    def watch(self, scope: Scope, job_id: str) -> AsyncGenerator[Job]:
        """The job at each change, at most 5 a second; ends with its final state."""
        ...

    async def cancel(self, scope: Scope, job_id: str) -> Job: ...

    async def retry(self, scope: Scope, job_id: str) -> Job:
        """Take the files that failed up again. Raises NotFound, Conflict while it runs or where there are none."""
        ...

    async def remove(self, scope: Scope, document_id: str) -> None:
        """Unpublish a document with what was drawn from it, in one visible step. Raises NotFound."""
        ...
