"""Search, and why a document is not among the hits."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import Response

from aegis.settings import Settings
from agents.why import Why
from api import deps
from api.encoding import Json, StrictRoute
from api.limits import bounded
from api.schemas.search import Filters, SearchAnswer, SearchBody, WhyAnswer, WhyBody
from retrieval.catalogue import DocumentFilter
from retrieval.search import Hit, Searcher, SearchRequest

router = APIRouter(prefix="/api/v1/retrieval", tags=["retrieval"], route_class=StrictRoute)


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


def _filter(filters: Filters) -> DocumentFilter:
    return DocumentFilter(filters.source, filters.type, tuple(filters.tag), filters.date_from, filters.date_to)


def _request(body: SearchBody, settings: Settings) -> SearchRequest:
    return SearchRequest(
        query=body.query,
        mode=body.mode,
        top_k=body.top_k or settings.retrieval.top_k,
        filter=_filter(body.filters),
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
