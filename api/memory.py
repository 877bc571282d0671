"""Graph memory: facts with the passages that state them, and what is around an entity."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from aegis.errors import InvalidInput, NotFound
from aegis.scope import Scope
from api import deps
from api.encoding import Json, StrictRoute
from api.limits import bounded
from api.schemas.memory import (
    AuditAnswer,
    ConflictsAnswer,
    FactAnswer,
    FactBody,
    FactsAnswer,
    MemorySearchAnswer,
    MemorySearchBody,
    NeighbourhoodAnswer,
)
from memory.facts import Entity, Fact, Facts, Neighbourhoods
from memory.facts.audit import Auditor
from memory.facts.conflicts import Conflict, Conflicts
from memory.facts.conflicts import told as told_of
from memory.facts.control import UNSET, Correction, FactControl
from memory.facts.summaries import Summaries
from retrieval.catalogue import Catalogue
from retrieval.ingestion import Ingestion

router = APIRouter(prefix="/api/v1/memory", tags=["memory"], route_class=StrictRoute)

FactsOf = Annotated[Facts, Depends(deps.facts)]
NeighbourhoodsOf = Annotated[Neighbourhoods, Depends(deps.neighbourhoods)]
ControlOf = Annotated[FactControl, Depends(deps.fact_control)]
CatalogueOf = Annotated[Catalogue, Depends(deps.catalogue)]

EntityName = Annotated[str, Query(min_length=1, max_length=200)]


@router.post("/search", response_model=MemorySearchAnswer)
async def search(
    body: MemorySearchBody,
    scope: deps.ScopeOf,
    facts: FactsOf,
    catalogue: CatalogueOf,
    settings: deps.SettingsOf,
) -> Response:
    """Facts about the things that the query names, best first. `memory` tells what documents say from what you said."""
    started = time.perf_counter()
    bounded(body.query, settings, "query")
    seen = {"documents": scope.documents_only(), "conversations": scope.conversations_only()}.get(
        body.memory or "", scope
    )
    known = body.known_at if isinstance(body.known_at, datetime) else None
    epoch = body.known_at if isinstance(body.known_at, int) else None
    if known is not None:
        epoch = await catalogue.epoch_at(known)
    times: dict[str, Any] = {"epoch": epoch, "as_of": body.as_of} | ({"known": known} if known is not None else {})
    found = await facts.search(seen, body.query, limit=body.limit, **times)
    took = (time.perf_counter() - started) * 1000
    answers = [_fact(scored.fact) | {"score": scored.score} for scored in found]
    return Json({"facts": answers, "took_ms": round(took, 3)})


@router.get("/facts", response_model=FactsAnswer)
async def listing(scope: deps.ScopeOf, facts: FactsOf, limit: deps.Limit = 100, cursor: deps.Cursor = "") -> Response:
    """All facts in order of id."""
    found = await facts.page(scope, after=cursor, limit=limit + 1)
    page = found[:limit]
    more = len(found) > limit
    return Json({"facts": [_fact(fact) for fact in page], "next": page[-1].id if more else None})


@router.get("/facts/{fact_id}", response_model=FactAnswer)
async def fact(fact_id: deps.Id, scope: deps.ScopeOf, facts: FactsOf) -> Response:
    """One fact, with the passages that state it."""
    return Json(_fact(await facts.fact(scope, fact_id)))


@router.patch("/facts/{fact_id}", response_model=FactAnswer)
async def change(fact_id: deps.Id, body: FactBody, scope: deps.ScopeOf, control: ControlOf, facts: FactsOf) -> Response:
    """Correct, confirm or forbid a fact. A corrected or forbidden one is not learnt again from the same words.

    The answer to a correction is another fact, on the same evidence; that to `forbidden` the fact as it was.
    """
    wanted = [body.confirmed, body.forbidden, not _correction(body).empty]
    if sum(map(bool, wanted)) != 1:
        raise InvalidInput("Say one thing: what is right instead, `confirmed` or `forbidden`.")
    if body.forbidden:
        was = await facts.fact(scope, fact_id)
        await control.forbid(scope, fact_id, body.reason or "")
        return Json(_fact(was) | {"state": "forbidden"})
    if body.confirmed:
        return Json(_fact(await control.confirm(scope, fact_id)))
    return Json(_fact(await control.correct(scope, fact_id, _correction(body))))


@router.delete("/facts/{fact_id}", status_code=204)
async def forbid(fact_id: deps.Id, scope: deps.ScopeOf, control: ControlOf) -> None:
    """Take a fact out; it is not learnt again from the same words."""
    await control.forbid(scope, fact_id)


@router.get("/conflicts", response_model=ConflictsAnswer)
async def conflicts(
    scope: deps.ScopeOf,
    found_by: Annotated[Conflicts, Depends(deps.conflicts)],
    ingestion: Annotated[Ingestion, Depends(deps.ingestion)],
    document: Annotated[str | None, Query(max_length=64, pattern=deps.NO_NUL, description="Of this document")] = None,
    job: Annotated[
        str | None, Query(max_length=64, pattern=deps.NO_NUL, description="Of the files of this job")
    ] = None,
) -> Response:
    """Where documents disagree: the same subject and relation with another object."""
    if job is not None:
        reports = await ingestion.files(scope, job)
        found = await found_by.of_documents(scope, [one.document_id for one in reports if one.document_id])
    elif document is not None:
        found = await found_by.of_documents(scope, [document])
    else:
        found = await found_by.all(scope)
    return Json({"conflicts": [_conflict(one) for one in found]})


@router.get("/audit", response_model=AuditAnswer)
async def audit(scope: deps.ScopeOf, auditor: Annotated[Auditor, Depends(deps.auditor)]) -> Response:
    """How sound the memory is: every quote is looked up in its source."""
    found = await auditor.audit(scope)
    return Json(asdict(found) | {"missing": list(found.missing), "missing_share": round(found.missing_share, 6)})


@router.get("/graph", response_model=NeighbourhoodAnswer)
async def graph(
    entity: EntityName,
    scope: deps.ScopeOf,
    facts: FactsOf,
    neighbourhoods: NeighbourhoodsOf,
    summaries: Annotated[Summaries, Depends(deps.summaries)],
    to: Annotated[str | None, Query(min_length=1, max_length=200, description="Find a path to this entity")] = None,
    hops: Annotated[int, Query(ge=1, le=4)] = 1,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """What is around an entity, or with `to` a shortest path (then within 4 hops unless `hops` says more than 1)."""
    start = await _named(facts, scope, entity)
    if to is None:
        found = await neighbourhoods.around(scope, [one.id for one in start], hops=hops, limit=limit)
    else:
        end = await _named(facts, scope, to)
        found = await neighbourhoods.path(scope, start[0].id, end[0].id, hops=hops if hops > 1 else 4)
    told = await summaries.of(scope, [start[0].id])
    return Json(
        {
            "entities": [_entity(one) for one in found.entities],
            "facts": [_fact(one) for one in found.facts],
            "path": list(found.path),
            "summary": told.get(start[0].id, ""),
        }
    )


async def _named(facts: Facts, scope: Scope, name: str) -> list[Entity]:
    found = await facts.entities_named(scope, [name])
    if not found:
        raise NotFound(f"There is no entity named {name[:200]!r}.", entity=name[:200])
    return found


def _entity(entity: Entity) -> dict[str, Any]:
    return {"id": entity.id, "name": entity.name, "labels": list(entity.labels)}


def _correction(body: FactBody) -> Correction:
    times = {
        name: getattr(body, name) if name in body.model_fields_set else UNSET for name in ("valid_at", "invalid_at")
    }
    return Correction(body.text, body.relation, body.source, body.target, **times)


def _conflict(conflict: Conflict) -> dict[str, Any]:
    named = {"subject": conflict.subject.name, "subject_id": conflict.subject.id, "relation": conflict.relation}
    return {**named, "told": told_of(conflict), "claims": [_fact(fact) for fact in conflict.claims]}


def _fact(fact: Fact) -> dict[str, Any]:
    return {
        "id": fact.id,
        "text": fact.text,
        "relation": fact.relation,
        "source": fact.source.name,
        "source_id": fact.source.id,
        "target": fact.target.name,
        "target_id": fact.target.id,
        "valid_at": fact.valid_at,
        "invalid_at": fact.invalid_at,
        "learnt_at": fact.learnt_at,
        "expired_at": fact.expired_at,
        "memory": fact.memory,
        "state": "confirmed" if fact.confirmed else "stated",
        "evidence": [
            {
                "document_id": row.document_id,
                "version_id": row.version_id,
                "chunk_id": row.chunk_id,
                "start": row.span.start,
                "end": row.span.end,
                "quote": row.quote,
                "turn_id": row.turn_id,
                "conversation_id": row.conversation_id,
                "dated": row.dated,
            }
            for row in fact.evidence
        ],
    }
