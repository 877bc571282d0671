"""Facts from real tables: the path between two named things, and what stands around the best passages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from langgraph.runtime import Runtime

from aegis.database import Database
from aegis.errors import GraphUnavailable
from aegis.scope import DEFAULT_COLLECTION, Scope
from agents.consult_graph import GRAPH_NOTE, MOST_FACTS, ConsultGraph
from agents.state import Context, State
from memory.facts import Neighbourhood
from memory.facts.neighbourhoods import RelationalNeighbourhoods
from memory.facts.store import FactStore
from retrieval.search import Hit, SearchRequest
from tests.memory.library import Library

CHAIN = "Orion Desk uses Lumen Cache. Lumen Cache uses Petra Store. Petra Store uses Halden Disk."


@dataclass
class Ranked:
    hits: list[Hit] = field(default_factory=list[Hit])

    async def search(self, scope: Scope, request: SearchRequest) -> list[Hit]:
        return self.hits


class NoGraph:
    async def around(self, scope: Scope, entity_ids: Sequence[str], *, hops: int = 1, limit: int = 50) -> Neighbourhood:
        raise GraphUnavailable("gone")

    async def path(self, scope: Scope, start: str, end: str, *, hops: int = 4) -> Neighbourhood:
        raise GraphUnavailable("gone")


def asking(question: str) -> State:
    return {"question": question, "standalone": question}


RUNTIME = Runtime(context=Context(collections=(DEFAULT_COLLECTION,)))


def node(database: Database, library: Library, hits: Sequence[Hit] = ()) -> ConsultGraph:
    near = RelationalNeighbourhoods(database, library.catalogue)
    return ConsultGraph(FactStore(database, library.catalogue), near, library.catalogue, Ranked([*hits]))


async def test_the_path_between_two_names_comes_first(database: Database) -> None:
    library = Library(database)
    await library.put("Chain", CHAIN)
    changes = await node(database, library)(asking("How is Orion Desk connected to Halden Disk?"), RUNTIME)
    assert changes["path"] == ["Orion Desk", "Lumen Cache", "Petra Store", "Halden Disk"]
    assert [fact["text"] for fact in changes["facts"][:3]] == [
        "Orion Desk uses Lumen Cache.",
        "Lumen Cache uses Petra Store.",
        "Petra Store uses Halden Disk.",
    ]
    assert len({fact["fact_id"] for fact in changes["facts"]}) == len(changes["facts"]) <= MOST_FACTS


async def test_facts_around_what_the_best_passage_is_about(database: Database) -> None:
    library = Library(database)
    await library.put("Notes", CHAIN)
    (home,) = await library.put("Lumen Cache", "It was rewritten in spring.")
    (chunk,) = await library.catalogue.chunks(Scope("local"), [home])
    question = asking("which desk uses what was rewritten in spring?")
    assert (await node(database, library)(question, RUNTIME))["facts"] == []
    changes = await node(database, library, [Hit(chunk, 1.0)])(question, RUNTIME)
    assert {fact["text"] for fact in changes["facts"]} >= {"Orion Desk uses Lumen Cache."}
    assert home in {hit["chunk_id"] for hit in changes["found"]}


async def test_another_scope_sees_nothing(database: Database) -> None:
    library = Library(database)
    await library.put("Chain", CHAIN)
    other = Runtime(context=Context(collections=("other",)))
    changes = await node(database, library)(asking("How is Orion Desk connected to Halden Disk?"), other)
    assert (changes["facts"], changes["path"], changes["found"]) == ([], [], [])


async def test_a_graph_out_of_reach_is_noted_and_passages_stay(database: Database) -> None:
    library = Library(database)
    (home,) = await library.put("Chain", CHAIN)
    (chunk,) = await library.catalogue.chunks(Scope("local"), [home])
    store = FactStore(database, library.catalogue)
    consult = ConsultGraph(store, NoGraph(), library.catalogue, Ranked([Hit(chunk, 1.0)]))
    changes = await consult(asking("How is Orion Desk connected to Halden Disk?"), RUNTIME)
    assert changes["notes"] == [GRAPH_NOTE]
    assert [hit["chunk_id"] for hit in changes["found"]] == [home]
