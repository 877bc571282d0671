"""Search and ingestion."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Header
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter
from pydantic import ValidationError as PydanticError
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import Response

from aegis.errors import AegisError, InvalidInput, TooLarge
from aegis.scope import DEFAULT_COLLECTION, Scope
from aegis.settings import Settings
from agents.why import Why
from api import deps
from api.encoding import Json, StrictRequest, StrictRoute
from api.errors import Malformed
from api.schemas import (
    DocumentBody,
    FileAnswer,
    FilesAnswer,
    Filters,
    IngestBody,
    JobAnswer,
    JobsAnswer,
    JobStarted,
    Name,
    SearchAnswer,
    SearchBody,
    Source,
    Tag,
    WhyAnswer,
    WhyBody,
)
from api.streaming import EventStream, frame
from retrieval.catalogue import DocumentFilter
from retrieval.ingestion import Ingestion, Job, Upload
from retrieval.search import Hit, Searcher, SearchRequest

router = APIRouter(prefix="/api/v1/retrieval", tags=["retrieval"], route_class=StrictRoute)

Jobs = Annotated[Ingestion, Depends(deps.ingestion)]
_Value = TypeVar("_Value")


# -- search


@router.post("/search", response_model=SearchAnswer)
async def search(
    body: SearchBody,
    scope: deps.ScopeOf,
    searcher: Annotated[Searcher, Depends(deps.searcher)],
    settings: deps.SettingsOf,
) -> Response:
    """Ranked passages. Modes: hybrid (words and meaning), vector, keyword, graph (follows mentions)."""
    started = time.perf_counter()
    bounded(body.query, settings, "query")
    hits = await searcher.search(scope, _request(body, settings))
    took = (time.perf_counter() - started) * 1000
    return Json({"hits": [_hit(hit) for hit in hits], "mode": body.mode, "took_ms": round(took, 3)})


@router.post("/why", response_model=WhyAnswer)
async def why(
    body: WhyBody, scope: deps.ScopeOf, explain: Annotated[Why, Depends(deps.why)], settings: deps.SettingsOf
) -> Response:
    """Where a document is lost on the way to an answer: extraction, chunk, scope, keyword, dense, mentions, cut,
    evidence; with ranks and scores."""
    bounded(body.query, settings, "query")
    return Json(asdict(await explain(scope, _request(body, settings), body.document_id)))


def bounded(text: str, settings: Settings, field: str) -> None:
    limit = settings.chat.max_question_chars
    if len(text) > limit:
        raise TooLarge(
            f"{field} has {len(text):,} characters; at most {limit:,} are taken (AEGIS_CHAT__MAX_QUESTION_CHARS).",
            field=field,
            limit=limit,
        )


def document_filter(filters: Filters) -> DocumentFilter:
    return DocumentFilter(filters.source, filters.type, tuple(filters.tag), filters.date_from, filters.date_to)


def _request(body: SearchBody, settings: Settings) -> SearchRequest:
    return SearchRequest(
        query=body.query,
        mode=body.mode,
        top_k=body.top_k or settings.retrieval.top_k,
        filter=document_filter(body.filters),
        collection=body.filters.collection,
        as_of=body.as_of,
        known_at=body.known_at,
        rerank=body.rerank,
        fusion=body.fusion,
        collapse=body.collapse,
        diversity=body.diversity,
    )


def _hit(hit: Hit) -> dict[str, Any]:
    """By hand: this is the hot path. Fits `HitAnswer`; a test compares."""
    chunk = hit.chunk
    return {
        "chunk_id": chunk.id,
        "document_id": chunk.document_id,
        "version_id": chunk.version_id,
        "source": chunk.source,
        "title": chunk.title,
        "collection": chunk.collection,
        "page": chunk.page,
        "heading": chunk.heading,
        "text": chunk.text,
        "start": chunk.span.start,
        "end": chunk.span.end,
        "score": float(hit.score),
        "via": list(hit.via),
        "duplicates": list(hit.duplicates),
        "warning": chunk.warning,
    }


# -- ingestion

_INGEST_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        "source": {
                            "type": "array",
                            "items": {"type": "string", "maxLength": 2000},
                            "description": "One per file, in the same order; without: `upload:` and the file's name.",
                        },
                        "collection": {"type": "string", "maxLength": 120},
                        "tags": {"type": "array", "items": {"type": "string", "maxLength": 60}, "maxItems": 20},
                    },
                }
            },
            "application/json": {"schema": {"$ref": "#/components/schemas/IngestBody"}},
        },
    }
}


@router.post("/ingest", status_code=202, response_model=JobStarted, openapi_extra=_INGEST_BODY)
async def ingest(request: Request, scope: deps.ScopeOf, ingestion: Jobs, settings: deps.SettingsOf) -> Response:
    """Take documents in: files as a form, or texts as JSON. Returns once the originals are durable."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        job = await _submit_form(request, scope, ingestion, settings)
    elif kind == "application/json":
        job = await ingestion.submit(scope, await _json_uploads(request))
    else:
        raise InvalidInput(
            "Send files as multipart/form-data, or documents as application/json.", content_type=kind[:100]
        )
    return Json({"job_id": job.id}, 202, {"Location": f"/api/v1/retrieval/jobs/{job.id}"})


async def _json_uploads(request: Request) -> list[Upload]:
    try:
        raw = await StrictRequest(request.scope, request.receive).json()
    except ValueError as error:
        raise Malformed(f"The body is not valid JSON: {getattr(error, 'msg', 'it cannot be read')}.") from error
    try:
        body = IngestBody.model_validate(raw)
    except PydanticError as error:
        raise RequestValidationError(error.errors(include_url=False, include_input=False)) from error
    return [_upload(document) for document in body.documents]


def _upload(document: DocumentBody) -> Upload:
    return Upload(
        source=_identity(document.source),
        data=document.text.encode(),
        title=document.title,
        collection=document.collection or DEFAULT_COLLECTION,
        tags=tuple(document.tags),
    )


async def _submit_form(request: Request, scope: Scope, ingestion: Ingestion, settings: Settings) -> Job:
    most = settings.ingestion.max_files
    async with request.form(max_files=most, max_fields=2 * most + 50, max_part_size=10_000) as form:
        files = _files(form, settings.ingestion.max_file_bytes)
        sources = _sources(form, files)
        collection, tags = _collection(form), _tags(form)
        async with request.app.state.reading:
            uploads = [
                Upload(source, await file.read(), collection=collection, tags=tags)
                for source, file in zip(sources, files, strict=True)
            ]
            return await ingestion.submit(scope, uploads)


def _files(form: FormData, most_bytes: int) -> list[UploadFile]:
    files = [part for part in form.getlist("files") if isinstance(part, UploadFile)]
    if not files:
        raise InvalidInput("The form has no file; send each as a part named `files`, with a file name.")
    for file in files:
        if (file.size or 0) > most_bytes:
            raise TooLarge(
                f"{(file.filename or 'A file')[:200]} has {file.size:,} bytes; at most {most_bytes:,} are taken "
                "(AEGIS_INGESTION__MAX_FILE_BYTES).",
                limit=most_bytes,
            )
    return files


_SOURCE: TypeAdapter[str] = TypeAdapter(Source)
_NAME: TypeAdapter[str] = TypeAdapter(Name)
_TAGS: TypeAdapter[list[str]] = TypeAdapter(list[Tag])
_MOST_TAGS = 20


def _sources(form: FormData, files: Sequence[UploadFile]) -> list[str]:
    given = _texts(form, "source")
    if given and len(given) != len(files):
        raise InvalidInput(
            f"The form has {len(files)} files but {len(given)} `source` fields; send one per file, or none."
        )
    names = given or [file.filename or "" for file in files]
    return [_identity(_checked(_SOURCE, name, "source")) for name in names]


def _collection(form: FormData) -> str:
    given = _texts(form, "collection")
    return _checked(_NAME, given[0], "collection") if given else DEFAULT_COLLECTION


def _tags(form: FormData) -> tuple[str, ...]:
    """Repeated fields, or one with commas."""
    given = [tag.strip() for field in _texts(form, "tags") for tag in field.split(",") if tag.strip()]
    if len(given) > _MOST_TAGS:
        raise InvalidInput(f"{len(given)} tags; at most {_MOST_TAGS} are taken.")
    return tuple(_checked(_TAGS, given, "tags"))


def _texts(form: FormData, name: str) -> list[str]:
    return [part for part in form.getlist(name) if isinstance(part, str)]


def _checked(adapter: TypeAdapter[_Value], value: Any, field: str) -> _Value:
    try:
        return adapter.validate_python(value)
    except PydanticError as error:
        raise InvalidInput(f"{field}: {error.errors()[0]['msg']}.", field=field) from error


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


def _identity(source: str) -> str:
    """A URI stays; a bare name is an upload's."""
    return source if _SCHEME.match(source) else f"upload:{source}"


# -- jobs


@router.get("/jobs", response_model=JobsAnswer)
async def jobs(scope: deps.ScopeOf, ingestion: Jobs, limit: deps.Limit = 50, cursor: deps.Cursor = "") -> Response:
    """Newest first. `cursor` is the id of the last job of the page before."""
    found = await ingestion.jobs(scope, limit=limit + 1, before=cursor)
    page = found[:limit]
    more = len(found) > limit
    return Json({"jobs": [job_answer(job) for job in page], "next": page[-1].id if more else None})


_JOB_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/event-stream": {
                "itemSchema": {
                    "type": "object",
                    "required": ["event", "data"],
                    "properties": {
                        "event": {"const": "job"},
                        "data": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "contentSchema": {"$ref": "#/components/schemas/JobAnswer"},
                        },
                    },
                }
            }
        }
    }
}


@router.get("/jobs/{job_id}", response_model=JobAnswer, responses=_JOB_RESPONSES)
async def job(job_id: deps.Id, scope: deps.ScopeOf, ingestion: Jobs, accept: Annotated[str, Header()] = "") -> Response:
    """The job now; with `Accept: text/event-stream`, events `job` at each change until it has ended."""
    found = await ingestion.job(scope, job_id)
    if "text/event-stream" in accept:
        return EventStream(_watched(ingestion, scope, job_id))
    return Json(job_answer(found))


async def _watched(ingestion: Ingestion, scope: Scope, job_id: str) -> AsyncGenerator[bytes]:
    try:
        async for job in ingestion.watch(scope, job_id):
            yield frame("job", job_answer(job))
    except AegisError as error:
        yield frame("error", {"code": error.code, "message": error.message})


@router.get("/jobs/{job_id}/files", response_model=FilesAnswer)
async def files(
    job_id: deps.Id,
    scope: deps.ScopeOf,
    ingestion: Jobs,
    limit: deps.Limit = 100,
    cursor: deps.Place = 0,
) -> Response:
    """What became of each file."""
    found = await ingestion.files(scope, job_id, after=cursor, limit=limit + 1)
    page = found[:limit]
    more = len(found) > limit
    answers = [FileAnswer.model_validate(report).model_dump() for report in page]
    return Json({"reports": answers, "next": str(cursor + limit) if more else None})


@router.delete("/jobs/{job_id}", response_model=JobAnswer)
async def cancel(job_id: deps.Id, scope: deps.ScopeOf, ingestion: Jobs) -> Response:
    """Stop the job; what it has published stays, what it has not is dropped."""
    return Json(job_answer(await ingestion.cancel(scope, job_id)))


@router.post("/jobs/{job_id}/cancel", response_model=JobAnswer)
async def cancel_by_post(job_id: deps.Id, scope: deps.ScopeOf, ingestion: Jobs) -> Response:
    """The same for clients that cannot send DELETE."""
    return await cancel(job_id, scope, ingestion)


@router.post("/jobs/{job_id}/retry", response_model=JobAnswer)
async def retry(job_id: deps.Id, scope: deps.ScopeOf, ingestion: Jobs) -> Response:
    """Take the files that failed up again, but for those that a later job has taken in since."""
    return Json(job_answer(await ingestion.retry(scope, job_id)))


def job_answer(job: Job) -> dict[str, Any]:
    told = {
        "failures": [FileAnswer.model_validate(report) for report in job.failures],
        "warnings": [FileAnswer.model_validate(report) for report in job.warnings],
        "waits": None if job.waits is None else FileAnswer.model_validate(job.waits),
    }
    return JobAnswer.model_validate({"job_id": job.id, **told, **_counts(job)}).model_dump(mode="json")


def _counts(job: Job) -> dict[str, Any]:
    names = ("state", "files", "done", "chunks", "unchanged", "seconds_left", "created_at", "updated_at")
    return {name: getattr(job, name) for name in names}
