"""Facts and what is around an entity."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from aegis.errors import GraphUnavailable, NotFound
from aegis.scope import Scope, Span
from api.schemas.memory import FactAnswer, FactsAnswer, MemorySearchAnswer, NeighbourhoodAnswer
from memory.facts import Entity, Evidence, Fact, Neighbourhood, ScoredFact
from tests.api.conftest import Open

URL = "/api/v1/memory"
AEGIS, ZEUS = Entity("e1", "Aegis", ("Thing",)), Entity("e2", "Zeus")
EVIDENCE = (Evidence("d1", "v1", "c1", Span(3, 9), "quote."),)
FACT = Fact("f1", "Zeus bears the Aegis.", "BEARS", ZEUS, AEGIS, datetime(2020, 1, 1, tzinfo=UTC), None, EVIDENCE)


class FakeFacts:
    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def search(self, scope: Scope, query: str, **given: Any) -> list[ScoredFact]:
        self.seen.append((query, given))
        return [ScoredFact(FACT, 0.5)]

    async def page(self, scope: Scope, *, after: str = "", limit: int = 100) -> Sequence[Fact]:
        return [FACT][:limit] if after < FACT.id else []

    async def fact(self, scope: Scope, fact_id: str) -> Fact:
        if fact_id != FACT.id:
            raise NotFound("none")
        return FACT

    async def entities_named(self, scope: Scope, names: Sequence[str]) -> Any:
        return [entity for entity in (AEGIS, ZEUS) if entity.name.lower() in [name.lower() for name in names]]


class FakeNeighbourhoods:
    async def around(self, scope: Scope, entity_ids: Sequence[str], *, hops: int = 1, limit: int = 50) -> Neighbourhood:
        if hops == 4:
            raise GraphUnavailable("Neo4j does not answer.")
        return Neighbourhood((AEGIS, ZEUS), (FACT,))

    async def path(self, scope: Scope, start: str, end: str, *, hops: int = 4) -> Neighbourhood:
        return Neighbourhood((AEGIS, ZEUS), (FACT,), (start, end))


async def test_search(client_of: Open) -> None:
    facts = FakeFacts()
    client = await client_of(facts=facts)
    response = await client.post(f"{URL}/search", json={"query": "zeus", "known_at": 3, "as_of": "2020-06-01"})
    assert MemorySearchAnswer.model_validate_json(response.content).model_dump(mode="json") == response.json()
    assert facts.seen == [("zeus", {"limit": 10, "epoch": 3, "as_of": datetime(2020, 6, 1, tzinfo=UTC)})]
    assert (await client.post(f"{URL}/search", json={"query": "x" * 50_000})).status_code == 413


async def test_facts(client_of: Open) -> None:
    client = await client_of(facts=FakeFacts())
    one = await client.get(f"{URL}/facts/f1")
    assert FactAnswer.model_validate_json(one.content).model_dump(mode="json") == one.json()
    assert (one.json()["source"], one.json()["relation"], one.json()["target"]) == ("Zeus", "BEARS", "Aegis")
    assert (await client.get(f"{URL}/facts/f2")).status_code == 404
    page = await client.get(f"{URL}/facts")
    assert FactsAnswer.model_validate_json(page.content).model_dump(mode="json") == page.json()


class FakeSummaries:
    async def of(self, scope: Scope, entity_ids: Sequence[str]) -> dict[str, str]:
        return {identifier: f"All about {identifier}." for identifier in entity_ids}


async def test_graph(client_of: Open) -> None:
    client = await client_of(facts=FakeFacts(), neighbourhoods=FakeNeighbourhoods(), summaries=FakeSummaries())
    around = await client.get(f"{URL}/graph", params={"entity": "aegis"})
    assert NeighbourhoodAnswer.model_validate_json(around.content).model_dump(mode="json") == around.json()
    path = await client.get(f"{URL}/graph", params={"entity": "aegis", "to": "Zeus"})
    assert path.json()["path"] == ["e1", "e2"]
    assert around.json()["summary"] == "All about e1."
    assert (await client.get(f"{URL}/graph", params={"entity": "Hera"})).status_code == 404
    assert (await client.get(f"{URL}/graph", params={"entity": "Aegis", "to": "Hera"})).status_code == 404
    assert (await client.get(f"{URL}/graph", params={"entity": "Aegis", "hops": 4})).status_code == 503
    assert (await client.get(f"{URL}/graph", params={"entity": ""})).status_code == 422
