"""What the empty page says: questions to start with, drawn from the documents, and what the reader should know."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aegis.scope import Scope
from graphs.followups import questions
from retrieval.catalogue import Catalogue, DocumentEntry
from ui import viewer

STARTERS = 4
LOOKED_AT = 200  # documents that starters are drawn from


async def starters(catalogue: Catalogue, scope: Scope) -> list[str]:
    """One question each about a few documents, the longer ones first, none twice."""
    entries = await catalogue.list_documents(scope, limit=LOOKED_AT)
    asked = dict[str, None]()
    for entry in sorted(entries, key=_worth, reverse=True):
        if question := await _about(catalogue, scope, entry):
            asked.setdefault(question)
        if len(asked) == STARTERS:
            break
    return list(asked)


def _worth(entry: DocumentEntry) -> tuple[bool, int, str]:
    """Documents that have a title of their own come before those that go by their file's name."""
    return (entry.title not in entry.source, entry.chunk_count, entry.id)


async def _about(catalogue: Catalogue, scope: Scope, entry: DocumentEntry) -> str | None:
    chunks = await catalogue.chunks_of(scope, entry.version_id)
    found = questions(chunks[:20], {entry.title.lower()})
    return min(found, key=lambda question: (" about " not in question, len(question))) if found else None


async def notices(_: Request) -> Response:
    """What is not as it should be, each with what mends it. The page asks every few seconds
    while it is empty, then every half minute and after each answer; what concerns money stays in view."""
    services = viewer.services()
    found = list[dict[str, Any]]()
    progress = services.projections.progress()
    if progress.running:
        share = f" ({progress.done} of {progress.total})" if progress.total else ""
        found.append({"kind": "rebuild", "text": f"The search index is being rebuilt{share}; answers may be short."})
    if not services.samples.done():
        found.append({"kind": "samples", "text": "The sample documents are being taken in; this takes a few seconds."})
    if advice := services.writer.status().advice:
        found.append({"kind": "model", "text": "Answers are made of sentences from the documents.", "advice": advice})
    if missing := services.writer.missing_prices:
        found.append({"kind": "price", "text": missing})
    for warning in await services.writer.budget_warnings((await viewer.scope()).user):
        found.append({"kind": "money", "text": warning})
    return JSONResponse({"notices": found}, headers={"Cache-Control": "no-store"})
