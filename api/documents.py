"""Documents: what is there, their text, their original files, and removing them."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote, unquote, urlsplit

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from aegis.errors import InvalidInput
from api import deps
from api.encoding import Json, StrictRoute
from api.schemas.documents import DocumentAnswer, DocumentPatch, DocumentsAnswer, TextAnswer
from retrieval.blobs import Blobs
from retrieval.catalogue import Catalogue, DocumentEntry
from retrieval.ingestion import Ingestion
from retrieval.privacy import Privacy

router = APIRouter(prefix="/api/v1/documents", tags=["documents"], route_class=StrictRoute)

Documents = Annotated[Catalogue, Depends(deps.catalogue)]


@router.get("", response_model=DocumentsAnswer)
async def documents(
    scope: deps.ScopeOf,
    catalogue: Documents,
    collection: Annotated[str | None, Query(max_length=120)] = None,
    limit: deps.Limit = 100,
    cursor: deps.Cursor = "",
) -> Response:
    """Visible documents in order of id."""
    found = await catalogue.list_documents(scope.narrowed(collection), after=cursor, limit=limit + 1)
    page = found[:limit]
    more = len(found) > limit
    return Json({"documents": [_answer(entry) for entry in page], "next": page[-1].id if more else None})


@router.get("/{document_id}", response_model=DocumentAnswer)
async def document(document_id: deps.Id, scope: deps.ScopeOf, catalogue: Documents) -> Response:
    """The version of it that is visible now."""
    return Json(_answer(await catalogue.document(scope, document_id)))


@router.patch("/{document_id}", response_model=DocumentAnswer)
async def change(
    document_id: deps.Id, body: DocumentPatch, scope: deps.ScopeOf, privacy: Annotated[Privacy, Depends(deps.privacy)]
) -> Response:
    """Mark it as private, or take the mark away. A private document never leaves this machine, nor does a conversation
    in which an answer was made from it. It stays marked when its file changes, or is removed and comes back."""
    return Json(_answer(await privacy.set(scope, document_id, private=body.private)))


@router.delete("/{document_id}", status_code=204)
async def remove(
    document_id: deps.Id, scope: deps.ScopeOf, ingestion: Annotated[Ingestion, Depends(deps.ingestion)]
) -> None:
    """Take the document out, with what was drawn from it, in one visible step."""
    await ingestion.remove(scope, document_id)


@router.get("/{document_id}/text", response_model=TextAnswer)
async def text(
    document_id: deps.Id,
    scope: deps.ScopeOf,
    catalogue: Documents,
    version: Annotated[
        str | None, Query(max_length=64, pattern=deps.NO_NUL, description="A version id, as citations name it")
    ] = None,
    start: Annotated[int, Query(ge=0, le=deps.MOST)] = 0,
    end: Annotated[int | None, Query(ge=0, le=deps.MOST)] = None,
) -> Response:
    """The text that spans count in (code points), or the part from `start` to `end` of it."""
    version_id = version or (await catalogue.document(scope, document_id)).version_id
    part, chars = await catalogue.text_part(scope, document_id, version_id, start, end)
    stop = chars if end is None else min(end, chars)
    if start > stop:
        raise InvalidInput(f"start is {start}, behind the end ({stop}).", start=start, end=stop)
    return Json(
        {
            "document_id": document_id,
            "version_id": version_id,
            "start": start,
            "end": stop,
            "chars": chars,
            "text": part,
        }
    )


@router.get(
    "/{document_id}/original",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def original(
    document_id: deps.Id,
    scope: deps.ScopeOf,
    catalogue: Documents,
    blobs: Annotated[Blobs, Depends(deps.blobs)],
) -> Response:
    """The file as it came. Always a download, never shown: it is somebody's bytes on our address."""
    entry = await catalogue.document(scope, document_id)
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(_file_name(entry.source), safe='')}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-store",
    }
    return Response(await blobs.get(entry.content_hash), media_type="application/octet-stream", headers=headers)


def _file_name(source: str) -> str:
    """The last part of the source's path; never a path."""
    path = source.removeprefix("upload:") if source.startswith("upload:") else unquote(urlsplit(source).path)
    name = path.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return "".join(character for character in name if character.isprintable())[:150] or "document"


def _answer(entry: DocumentEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "collection": entry.collection,
        "source": entry.source,
        "title": entry.title,
        "media_type": entry.media_type,
        "version_id": entry.version_id,
        "content_hash": entry.content_hash,
        "chars": entry.chars,
        "chunks": entry.chunk_count,
        "verdict": dict(entry.verdict),
        "tags": list(entry.tags),
        "dated": entry.dated,
        "indexed_at": entry.indexed_at,
        "private": entry.private,
    }
