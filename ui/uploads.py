"""Files dropped on the page: taken in as documents, their progress shown, the reason told where one is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aegis.scope import Scope, new_id
from retrieval.ingestion import FileReport, Ingestion, Job, Upload
from ui import markup, render, viewer
from ui.following import Emitter

SOURCE = "upload:"
_OVER = ("done", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Incoming:
    """A file as the browser sent it, on its way in `path`."""

    name: str
    path: Path


async def take_in(emitter: Emitter, thread_id: str, question_id: str, files: Sequence[Incoming]) -> None:
    """Returns when the files can be asked about, or failed with their reasons. Raises what `Ingestion.submit` does."""
    scope, ingestion = await viewer.scope(), viewer.services().ingestion
    shown = _Progress(emitter, thread_id, question_id)
    uploads = [Upload(SOURCE + file.name, await asyncio.to_thread(_read, file.path)) for file in files]
    job = await ingestion.submit(scope, uploads)
    await shown.begin(job)
    async for seen in ingestion.watch(scope, job.id):
        await shown.update(seen, await _reports(ingestion, scope, job.id))
        job = seen
    if job.chunks and (price := await _price(scope)):
        await shown.price(price)


async def _price(scope: Scope) -> dict[str, Any] | None:
    """What a paid model would take to read for facts what nobody has decided about, these files among it."""
    services = viewer.services()
    if not services.settings.extraction.enabled:
        return None
    status = await services.reading.status(scope)
    if status.estimate is None or status.choice is None:
        return None
    return {"model": status.choice.model, "provider": status.choice.provider, **asdict(status.estimate)}


def _read(path: Path) -> bytes:
    """Take the bytes; they are kept with the job from now on, and only there."""
    data = path.read_bytes()
    path.unlink(missing_ok=True)
    return data


async def _reports(ingestion: Ingestion, scope: Scope, job_id: str) -> Sequence[FileReport]:
    return await ingestion.files(scope, job_id)


class _Progress:
    """One message with one element, both sent again as the job goes on."""

    def __init__(self, emitter: Emitter, thread_id: str, question_id: str) -> None:
        self._emitter = emitter
        self._thread_id = thread_id
        self._question_id = question_id
        self._message = new_id()
        self._element = new_id()
        self._props: dict[str, Any] = {}

    async def begin(self, job: Job) -> None:
        await self._say(f"Adding {_files(job.files)} …")

    async def update(self, job: Job, reports: Sequence[FileReport]) -> None:
        if job.state in _OVER:
            await self._say(_result(job))
        counts = {"state": job.state, "done": job.done, "total": job.files, "left": job.seconds_left}
        self._props = {**counts, "files": [_file(report) for report in reports]}
        await self._show()

    async def price(self, price: Mapping[str, Any]) -> None:
        """Beside the files, with a button that agrees to it."""
        self._props = {**self._props, "price": dict(price)}
        await self._show()

    async def _show(self) -> None:
        shown = render.element(self._element, self._thread_id, "Uploads", self._message, self._props)
        await self._emitter.send_element(shown)

    async def _say(self, text: str) -> None:
        await self._emitter.send_step(
            render.aside(self._thread_id, self._question_id, markup.plain(text), identifier=self._message)
        )


def _result(job: Job) -> str:
    failed = len(job.failures)
    added = f"Added {_files(job.files - failed)}." if failed < job.files else ""
    refused = f"{_files(failed)[0].upper()}{_files(failed)[1:]} could not be added." if failed else ""
    return f"{added} {refused}".strip()


def _files(count: int) -> str:
    return "one file" if count == 1 else f"{count} files"


def _file(report: FileReport) -> dict[str, Any]:
    return {
        "name": report.source.removeprefix(SOURCE),
        "state": report.state,
        "stage": report.stage,
        "chunks": report.chunks,
        "reason": report.reason or report.warning,
        "document_id": report.document_id,
    }
