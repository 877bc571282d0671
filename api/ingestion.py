"""Ingestion: documents taken in, as a form of files or as JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter
from pydantic import ValidationError as PydanticError
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import Response

from aegis.errors import InvalidInput, TooLarge
from aegis.scope import DEFAULT_COLLECTION, Scope
from aegis.settings import Settings
from api import deps
from api.encoding import Json, StrictRequest, StrictRoute
from api.errors import Malformed
from api.schemas import Name, Source, Tag
from api.schemas.ingestion import DocumentBody, IngestBody, JobStarted
from retrieval.ingestion import Ingestion, Job, Upload

router = APIRouter(prefix="/api/v1/retrieval", tags=["retrieval"], route_class=StrictRoute)


Jobs = Annotated[Ingestion, Depends(deps.ingestion)]
_Value = TypeVar("_Value")

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
                        "private": {
                            "type": "boolean",
                            "description": "Nothing of them leaves this machine, whatever the settings allow.",
                        },
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
        private=document.private,
    )


async def _submit_form(request: Request, scope: Scope, ingestion: Ingestion, settings: Settings) -> Job:
    most = settings.ingestion.max_files
    async with request.form(max_files=most, max_fields=2 * most + 50, max_part_size=10_000) as form:
        files = _files(form, settings.ingestion.max_file_bytes)
        sources = _sources(form, files)
        collection, tags, private = _collection(form), _tags(form), _private(form)
        async with request.app.state.reading:
            uploads = [
                Upload(source, await file.read(), collection=collection, tags=tags, private=private)
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
_YES_OR_NO: TypeAdapter[bool] = TypeAdapter(bool)
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


def _private(form: FormData) -> bool:
    given = _texts(form, "private")
    return _checked(_YES_OR_NO, given[0], "private") if given else False


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
