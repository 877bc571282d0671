"""Ingest and jobs."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from aegis.errors import Forbidden, NotFound
from aegis.scope import Scope
from aegis.settings import IngestionSettings, Settings
from api.schemas.jobs import FilesAnswer, JobAnswer, JobsAnswer
from retrieval.ingestion import FileReport, Job, Upload
from tests.api.conftest import Open

URL = "/api/v1/retrieval/ingest"
JOBS = "/api/v1/retrieval/jobs"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FAILED = FileReport("upload:b.pdf", "failed", None, 0, "unreadable_document", "b.pdf is empty.", "reading")


def job(identifier: str = "j1", **changes: Any) -> Job:
    return replace(Job(identifier, "running", 2, 1, 7, 0, (FAILED,), 3.5, NOW, NOW), **changes)


class FakeIngestion:
    def __init__(self, *jobs: Job) -> None:
        self.known = {one.id: one for one in jobs}
        self.taken: list[Upload] = []
        self.removed: list[str] = []

    async def submit(self, scope: Scope, uploads: Sequence[Upload]) -> Job:
        if any(upload.collection == "closed" for upload in uploads):
            raise Forbidden("closed is not yours.")
        self.taken += uploads
        return job("new", state="queued")

    async def job(self, scope: Scope, job_id: str) -> Job:
        if job_id not in self.known:
            raise NotFound(f"There is no job {job_id}.")
        return self.known[job_id]

    async def jobs(self, scope: Scope, *, limit: int = 50, before: str = "") -> Sequence[Job]:
        return [job for job in self.known.values() if not before or job.id < before][:limit]

    async def files(
        self, scope: Scope, job_id: str, *, after: int = 0, limit: int | None = None
    ) -> Sequence[FileReport]:
        every = [FAILED, replace(FAILED, source="upload:c.md", state="done", document_id="d", chunks=7)]
        return every[after:][:limit]

    async def watch(self, scope: Scope, job_id: str) -> AsyncGenerator[Job]:
        yield self.known[job_id]
        yield replace(self.known[job_id], state="done", done=2)

    async def cancel(self, scope: Scope, job_id: str) -> Job:
        return replace(await self.job(scope, job_id), state="cancelled")

    async def remove(self, scope: Scope, document_id: str) -> None:
        if document_id != "d1":
            raise NotFound(f"There is no document {document_id}.")
        self.removed.append(document_id)


async def test_documents_as_json(client_of: Open) -> None:
    ingestion = FakeIngestion()
    client = await client_of(ingestion=ingestion)
    documents = [
        {"source": "notes/a.md", "text": "# Grüße\n", "title": "A", "collection": "handbook", "tags": ["x"]},
        {"source": "https://example.org/b", "text": ""},
    ]
    response = await client.post(URL, json={"documents": documents})
    assert (response.status_code, response.json()) == (202, {"job_id": "new"})
    assert response.headers["location"] == f"{JOBS}/new"
    assert ingestion.taken == [
        Upload("upload:notes/a.md", "# Grüße\n".encode(), "A", "handbook", ("x",)),
        Upload("https://example.org/b", b""),
    ]


async def test_files_as_a_form(client_of: Open) -> None:
    ingestion = FakeIngestion()
    client = await client_of(ingestion=ingestion)
    large = bytes(range(256)) * 8192  # over what is held in memory while it arrives
    files = [("files", ("a b.txt", b"one")), ("files", ("c.bin", large))]
    data: dict[str, Any] = {"source": ["file:///home/a%20b.txt", "upload:c"], "collection": "handbook"}
    response = await client.post(URL, files=files, data=data | {"tags": ["x,y", "z"]})
    assert response.status_code == 202, response.text
    assert ingestion.taken == [
        Upload("file:///home/a%20b.txt", b"one", None, "handbook", ("x", "y", "z")),
        Upload("upload:c", large, None, "handbook", ("x", "y", "z")),
    ]


async def test_private_files_and_documents(client_of: Open) -> None:
    ingestion = FakeIngestion()
    client = await client_of(ingestion=ingestion)
    await client.post(URL, json={"documents": [{"source": "a", "text": "x", "private": True}]})
    for said in ("yes", "true", "no"):
        await client.post(URL, files=[("files", ("b.txt", b"x"))], data={"private": said})
    assert [upload.private for upload in ingestion.taken] == [True, True, True, False]
    refused = await client.post(URL, files=[("files", ("b.txt", b"x"))], data={"private": "perhaps"})
    assert refused.status_code == 422
    assert "private" in refused.json()["error"]["message"]


async def test_a_file_without_source_is_an_upload_by_its_name(client_of: Open) -> None:
    ingestion = FakeIngestion()
    client = await client_of(ingestion=ingestion)
    await client.post(URL, files=[("files", ("C:\\notes\\ä.txt", b"x"))])
    assert [upload.source for upload in ingestion.taken] == ["upload:ä.txt"]


@pytest.mark.parametrize(
    ("files", "data", "words"),
    [
        ([("other", ("a.txt", b"x"))], {}, "no file"),
        ([("files", ("a.txt", b"x"))], {"source": ["one", "two"]}, "1 files but 2"),
        ([("files", ("a.txt", b"x"))], {"source": ["s" * 2001]}, "source"),
        ([("files", ("a.txt", b"x"))], {"source": [" "]}, "source"),
        ([("files", ("a.txt", b"x"))], {"collection": "c" * 121}, "collection"),
        ([("files", ("a.txt", b"x"))], {"tags": [str(number) for number in range(21)]}, "21 tags"),
        ([("files", ("a.txt", b"x"))], {"tags": ["t" * 61]}, "tags"),
    ],
)
async def test_a_wrong_form_is_refused(client_of: Open, files: Any, data: Any, words: str) -> None:
    ingestion = FakeIngestion()
    client = await client_of(ingestion=ingestion)
    response = await client.post(URL, files=files, data=data)
    assert response.status_code == 422
    assert words in response.json()["error"]["message"]
    assert ingestion.taken == []


async def test_a_file_over_the_bound_is_named(client_of: Open) -> None:
    settings = Settings(_env_file=None, ingestion=IngestionSettings(max_file_bytes=100))  # pyright: ignore[reportCallIssue]  # pydantic-settings' own
    ingestion = FakeIngestion()
    client = await client_of(ingestion=ingestion, settings=settings)
    files = [("files", ("small.txt", b"x" * 100)), ("files", ("big.txt", b"x" * 101))]
    response = await client.post(URL, files=files)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")
    assert "big.txt has 101 bytes" in response.json()["error"]["message"]
    huge = await client.post(URL, files=[("files", ("huge.txt", b"x" * 1_100_000))])
    assert huge.status_code == 413
    assert ingestion.taken == []


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"x", "text/plain", 422),
        (b"x", "", 422),
        (b"{", "application/json", 400),
        (b'{"documents": []}', "application/json", 422),
        (b'{"documents": [{"source": "a"}]}', "application/json", 422),
        (b'{"documents": [{"source": "a", "text": "x", "owner": "me"}]}', "application/json", 422),
        (b"x", "multipart/form-data", 400),
        (b"x", "multipart/form-data; boundary=y", 400),
        (b"--y\r\nContent-Disposition: form-data\r\n\r\nx\r\n--y--\r\n", "multipart/form-data; boundary=y", 400),
    ],
)  # fmt: skip
async def test_broken_bodies(client_of: Open, content: bytes, kind: str, status: int) -> None:
    ingestion = FakeIngestion()
    client = await client_of(ingestion=ingestion)
    response = await client.post(URL, content=content, headers={"Content-Type": kind} if kind else {})
    assert response.status_code == status, response.text
    assert response.json()["error"]["message"]
    assert ingestion.taken == []


async def test_what_ingestion_refuses_is_refused(client_of: Open) -> None:
    client = await client_of(ingestion=FakeIngestion())
    body = {"documents": [{"source": "a", "text": "x", "collection": "closed"}]}
    assert (await client.post(URL, json=body)).status_code == 403


async def test_a_job_and_its_files(client_of: Open) -> None:
    client = await client_of(ingestion=FakeIngestion(job()))
    response = await client.get(f"{JOBS}/j1")
    assert JobAnswer.model_validate_json(response.content).model_dump(mode="json") == response.json()
    assert response.json()["failures"][0]["reason"] == "b.pdf is empty."
    files = await client.get(f"{JOBS}/j1/files", params={"limit": 1})
    assert FilesAnswer.model_validate_json(files.content).model_dump(mode="json") == files.json()
    assert files.json()["next"] == "1"
    rest = await client.get(f"{JOBS}/j1/files", params={"limit": 1, "cursor": 1})
    assert (rest.json()["next"], rest.json()["reports"][0]["source"]) == (None, "upload:c.md")
    assert (await client.get(f"{JOBS}/other")).status_code == 404


async def test_jobs_come_in_pages(client_of: Open) -> None:
    client = await client_of(ingestion=FakeIngestion(job("j3"), job("j2"), job("j1")))
    first = await client.get(JOBS, params={"limit": 2})
    assert JobsAnswer.model_validate_json(first.content).model_dump(mode="json") == first.json()
    assert [one["job_id"] for one in first.json()["jobs"]] == ["j3", "j2"]
    rest = await client.get(JOBS, params={"limit": 2, "cursor": first.json()["next"]})
    assert ([one["job_id"] for one in rest.json()["jobs"]], rest.json()["next"]) == (["j1"], None)


async def test_a_job_as_events(client_of: Open) -> None:
    client = await client_of(ingestion=FakeIngestion(job()))
    response = await client.get(f"{JOBS}/j1", headers={"Accept": "text/event-stream"})
    assert response.headers["content-type"].startswith("text/event-stream")
    states: list[str] = []
    for block in response.text.strip().split("\n\n"):
        name, data = block.split("\n")
        assert name == "event: job"
        states.append(JobAnswer.model_validate(json.loads(data.removeprefix("data: "))).state)
    assert states == ["running", "done"]
    missing = await client.get(f"{JOBS}/other", headers={"Accept": "text/event-stream"})
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")


async def test_cancelling(client_of: Open) -> None:
    client = await client_of(ingestion=FakeIngestion(job()))
    assert (await client.delete(f"{JOBS}/j1")).json()["state"] == "cancelled"
    assert (await client.post(f"{JOBS}/j1/cancel")).json()["state"] == "cancelled"
    assert (await client.delete(f"{JOBS}/other")).status_code == 404
