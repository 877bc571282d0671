"""Taking documents in: checks, keeps the originals, writes the job; answers for jobs. Implements `Ingestion`."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aegis.errors import Forbidden, InvalidInput, Overloaded, TooLarge, UnreadableDocument
from aegis.scope import Scope, document_id, new_id
from aegis.settings import IngestionSettings
from retrieval.blobs import Blobs
from retrieval.catalogue import Catalogue
from retrieval.ingestion import FileReport, Job, Upload
from retrieval.ingestion.jobs import JobTable
from retrieval.ingestion.publishing import Publisher
from retrieval.ingestion.runner import Runner
from retrieval.ingestion.tables import ENDED
from retrieval.privacy import Privacy

PUTS = 4  # originals kept at a time
LOOK = 0.2  # seconds between looks at a watched job
NAME = 120  # characters of a collection's or tag's name, at most
SOURCE = 2000
TITLE = 1000
TAGS = 50


class Intake:
    def __init__(
        self,
        jobs: JobTable,
        runner: Runner,
        publisher: Publisher,
        catalogue: Catalogue,
        blobs: Blobs,
        settings: IngestionSettings,
        privacy: Privacy,
    ) -> None:
        self._jobs = jobs
        self._runner = runner
        self._publisher = publisher
        self._catalogue = catalogue
        self._blobs = blobs
        self._settings = settings
        self._privacy = privacy

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async with self._runner.running():
            yield

    async def submit(self, scope: Scope, uploads: Sequence[Upload]) -> Job:
        await self._check(scope, uploads)
        puts = asyncio.Semaphore(PUTS)
        job_id = new_id()
        rows = await asyncio.gather(
            *(self._row(scope, job_id, ordinal, upload, puts) for ordinal, upload in enumerate(uploads))
        )
        private = [row["document_id"] for row, upload in zip(rows, uploads, strict=True) if upload.private]
        await self._privacy.mark(scope, private)  # before anybody can take the file up
        await self._jobs.add(job_id, scope.user, rows)
        self._runner.wake(job_id)
        return await self._jobs.reports.job(scope, job_id)

    async def job(self, scope: Scope, job_id: str) -> Job:
        return await self._jobs.reports.job(scope, job_id)

    async def jobs(self, scope: Scope, *, limit: int = 50, before: str = "") -> Sequence[Job]:
        return await self._jobs.reports.jobs(scope, limit, before)

    async def files(
        self, scope: Scope, job_id: str, *, after: int = 0, limit: int | None = None
    ) -> Sequence[FileReport]:
        return await self._jobs.reports.reports(scope, job_id, after, limit)

    async def last_report(self, scope: Scope, document_id: str) -> FileReport | None:
        return await self._jobs.reports.last_report(scope, document_id)

    async def watch(self, scope: Scope, job_id: str) -> AsyncGenerator[Job]:
        shown: Job | None = None
        while shown is None or shown.state not in ENDED:
            job = await self._jobs.reports.job(scope, job_id)
            if job != shown:
                shown = job
                yield job
            if job.state not in ENDED:
                await asyncio.sleep(LOOK)

    async def cancel(self, scope: Scope, job_id: str) -> Job:
        await self._jobs.reports.job(scope, job_id)
        await self._runner.cancel(job_id)
        return await self._jobs.reports.job(scope, job_id)

    async def retry(self, scope: Scope, job_id: str) -> Job:
        await self._jobs.retry(scope, job_id)
        self._runner.wake(job_id)
        return await self._jobs.reports.job(scope, job_id)

    async def remove(self, scope: Scope, document_id: str) -> None:
        found = await self._catalogue.document(scope, document_id)
        if not scope.may_write(found.collection):
            raise Forbidden(f"You may not remove documents of {found.collection!r}.", collection=found.collection)
        await self._publisher.publish(hidden=[document_id])

    async def _check(self, scope: Scope, uploads: Sequence[Upload]) -> None:
        settings = self._settings
        if not uploads:
            raise InvalidInput("There is no file to take in. Send at least one.")
        if len(uploads) > settings.max_files:
            raise TooLarge(
                f"{len(uploads)} files are too many for one job, which takes {settings.max_files} "
                "(AEGIS_INGESTION__MAX_FILES). Send them in several jobs.",
                files=len(uploads),
                limit=settings.max_files,
            )
        for upload in uploads:
            _check_names(scope, upload)
        if len(uploads) == 1 and (refusal := self._refusal(uploads[0])) is not None:
            raise refusal
        if await self._jobs.waiting() + len(uploads) > settings.max_waiting:
            raise Overloaded(
                f"{settings.max_waiting} files wait already (AEGIS_INGESTION__MAX_WAITING). Try again later.",
                retry_after=60,
            )

    def _refusal(self, upload: Upload) -> InvalidInput | None:
        size, limit = len(upload.data), self._settings.max_file_bytes
        if size == 0:
            return UnreadableDocument(f"{upload.source} is empty.", source=upload.source)
        if size > limit:
            return TooLarge(
                f"{upload.source} has {size:,} bytes; at most {limit:,} are taken (AEGIS_INGESTION__MAX_FILE_BYTES).",
                source=upload.source,
                bytes=size,
                limit=limit,
            )
        return None

    async def _row(
        self, scope: Scope, job_id: str, ordinal: int, upload: Upload, puts: asyncio.Semaphore
    ) -> dict[str, Any]:
        refusal = self._refusal(upload)
        digest = None
        if refusal is None:
            async with puts:
                digest = await self._blobs.put(upload.data)
        source = normalised(upload.source)
        return {
            "job_id": job_id,
            "ordinal": ordinal,
            "source": source,
            "collection": upload.collection,
            "document_id": document_id(scope.user, upload.collection, source),
            "title": upload.title or None,
            "tags": sorted(set(upload.tags)),
            "blob": digest,
            "size": len(upload.data),
            "state": "queued" if refusal is None else "failed",
            "attempts": 0,
            "chunks": 0,
            "code": refusal.code if refusal else None,
            "reason": refusal.message if refusal else None,
        }


def normalised(source: str) -> str:
    """One spelling of a name, however the file system spells it."""
    return unicodedata.normalize("NFC", source.strip())


def _check_names(scope: Scope, upload: Upload) -> None:
    for what, value, limit in (
        ("source", upload.source, SOURCE),
        ("title", upload.title or "-", TITLE),
        ("collection", upload.collection, NAME),
        *(("tag", tag, NAME) for tag in upload.tags),
    ):
        if not value.strip() or len(value) > limit or not value.isprintable():
            raise InvalidInput(
                f"The {what} {value[:80]!r} cannot be taken: it must have 1 to {limit} printable characters."
            )
    if len(upload.tags) > TAGS:
        raise InvalidInput(f"{upload.source} has {len(upload.tags)} tags; at most {TAGS} are taken.")
    if not scope.may_write(upload.collection):
        raise Forbidden(
            f"You may not add documents to the collection {upload.collection!r}.", collection=upload.collection
        )
