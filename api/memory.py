"""Graph memory: facts with the passages that state them, and what is around an entity."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from aegis.errors import NotFound
from aegis.scope import Scope
from api import deps
from api.encoding import Json, StrictRoute
from api.retrieval import bounded
from api.schemas import FactAnswer, FactsAnswer, MemorySearchAnswer, MemorySearchBody, NeighbourhoodAnswer
from memory.facts import Entity, Fact, Facts, Neighbourhoods

router = APIRouter(prefix="/api/v1/memory", tags=["memory"], route_class=StrictRoute)


FactsOf = Annotated[Facts, Depends(deps.facts)]
NeighbourhoodsOf = Annotated[Neighbourhoods, Depends(deps.neighbourhoods)]
EntityName = Annotated[str, Query(min_length=1, max_length=200)]


@router.post("/search", response_model=MemorySearchAnswer)
async def search(body: MemorySearchBody, scope: deps.ScopeOf, facts: FactsOf, settings: deps.SettingsOf) -> Response:
    """Facts about the things that the query names, best first."""
    started = time.perf_counter()
    bounded(body.query, settings, "query")
    found = await facts.search(scope, body.query, limit=body.limit, epoch=body.known_at, as_of=body.as_of)
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


@router.get("/graph", response_model=NeighbourhoodAnswer)
async def graph(
    entity: EntityName,
    scope: deps.ScopeOf,
    facts: FactsOf,
    neighbourhoods: NeighbourhoodsOf,
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
    return Json(
        {
            "entities": [_entity(one) for one in found.entities],
            "facts": [_fact(one) for one in found.facts],
            "path": list(found.path),
        }
    )


async def _named(facts: Facts, scope: Scope, name: str) -> list[Entity]:
    found = await facts.entities_named(scope, [name])
    if not found:
        raise NotFound(f"There is no entity named {name[:200]!r}.", entity=name[:200])
    return found


def _entity(entity: Entity) -> dict[str, Any]:
    return {"id": entity.id, "name": entity.name, "labels": list(entity.labels)}


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
        "evidence": [
            {
                "document_id": row.document_id,
                "version_id": row.version_id,
                "chunk_id": row.chunk_id,
                "start": row.span.start,
                "end": row.span.end,
                "quote": row.quote,
            }
            for row in fact.evidence
        ],
    }
