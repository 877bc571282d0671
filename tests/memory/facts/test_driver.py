"""Graphiti itself on our tables: its pipeline with a scripted model, its bulk save, its search."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from graphiti_core import Graphiti
from graphiti_core.edges import EntityEdge, EpisodicEdge
from graphiti_core.llm_client.client import LLMClient
from graphiti_core.llm_client.config import LLMConfig
from graphiti_core.nodes import EntityNode, EpisodeType, EpisodicNode
from graphiti_core.utils.bulk_utils import add_nodes_and_edges_bulk
from sqlalchemy import func, select

from aegis.database import Database
from aegis.database.outbox import Outbox
from aegis.errors import InvalidInput
from aegis.scope import DEFAULT_COLLECTION, Scope
from memory.facts.driver import GraphitiEmbedder, ensure_group, open_graphiti
from memory.facts.rows import TOPIC
from memory.facts.store import FactStore
from memory.facts.tables import entities, evidence, facts
from retrieval.catalogue import Catalogue
from tests.memory.library import NOW, Library

SCOPE = Scope("local")
BODY = "Anna told Bert that Orion Labs opened an office in Lisbon. The office is large."
FACT = "Orion Labs opened an office in Lisbon"


class Scripted(LLMClient):
    """A model that gives, for each shape asked of it, an answer that was written beforehand."""

    def __init__(self) -> None:
        super().__init__(LLMConfig(api_key="none", model="scripted"))
        self.asked: list[str] = []

    async def _generate_response(
        self, messages: Any, response_model: Any = None, max_tokens: int = 0, model_size: Any = None, **_: Any
    ) -> dict[str, Any]:
        name = response_model.__name__ if response_model else ""
        self.asked.append(name)
        answer: dict[str, Any] = {}
        for field, info in response_model.model_fields.items() if response_model else ():
            if "entities" in field and "resol" not in field:
                answer[field] = [{"name": name, "entity_type_id": 0} for name in ("Orion Labs", "Lisbon")]
            elif field == "edges":
                answer[field] = [
                    {"source_entity_name": "Orion Labs", "target_entity_name": "Lisbon", "fact": FACT}
                    | {"relation_type": "OPENED_OFFICE_IN", "valid_at": None, "invalid_at": None}
                ]
            elif info.is_required():
                answer[field] = []
        return answer


@pytest.fixture
async def graphiti(any_database: Database) -> AsyncGenerator[Graphiti]:
    async with open_graphiti(any_database, Catalogue(any_database), Scripted()) as opened:
        yield opened


async def count(database: Database, table: Any) -> int:
    async with database.read() as connection:
        return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())


async def test_episode_by_model_and_bulk_are_found_by_one_search(any_database: Database, graphiti: Graphiti) -> None:
    group = await ensure_group(any_database, "d", DEFAULT_COLLECTION)
    added = await graphiti.add_episode(
        "note", BODY, "a note", NOW, source=EpisodeType.text, group_id=group, update_communities=False
    )
    assert [edge.fact for edge in added.edges] == [FACT]
    await Library(any_database).put("Orion Labs", "Orion Labs uses Blue Glass.")
    store = FactStore(any_database, Catalogue(any_database))
    found = await store.search(SCOPE, "What do we know of Orion Labs?")
    assert {scored.fact.text for scored in found} == {FACT, "Orion Labs uses Blue Glass."}
    mine = next(scored.fact for scored in found if scored.fact.text == FACT)
    assert mine.evidence[0].quote == "Anna told Bert that Orion Labs opened an office in Lisbon."
    by_graphiti = await graphiti.search("Orion Labs", group_ids=[group])
    assert {edge.fact for edge in by_graphiti} == {FACT, "Orion Labs uses Blue Glass."}


async def test_second_episode_reuses_entities_and_facts(any_database: Database, graphiti: Graphiti) -> None:
    group = await ensure_group(any_database, "d", DEFAULT_COLLECTION)
    for name in ("one", "two"):
        await graphiti.add_episode(name, BODY, "a note", NOW, source=EpisodeType.text, group_id=group)
    assert await count(any_database, entities) == 2
    assert await count(any_database, facts) == 1
    assert await count(any_database, evidence) == 2


def bulk(group: str) -> tuple[list[EpisodicNode], list[EpisodicEdge], list[EntityNode], list[EntityEdge]]:
    episode = EpisodicNode(
        name="e", group_id=group, source=EpisodeType.text, source_description="", content=BODY, valid_at=NOW
    )
    labs = EntityNode(name="Orion Labs", group_id=group, attributes={"founded": NOW})
    lisbon = EntityNode(name="Lisbon", group_id=group)
    mentions = [
        EpisodicEdge(source_node_uuid=episode.uuid, target_node_uuid=node.uuid, group_id=group, created_at=NOW)
        for node in (labs, lisbon)
    ]
    fact = EntityEdge(
        source_node_uuid=labs.uuid,
        target_node_uuid=lisbon.uuid,
        group_id=group,
        name="IN",
        fact=FACT,
        episodes=[episode.uuid],
        created_at=NOW,
        fact_embedding=[0.5] * 8,
    )
    return [episode], mentions, [labs, lisbon], [fact]


async def test_bulk_save_is_one_transaction(any_database: Database, graphiti: Graphiti) -> None:
    group = await ensure_group(any_database, "d", DEFAULT_COLLECTION)
    episodes, mentions, nodes, edges = bulk(group)
    unproven = edges[0].model_copy(update={"uuid": "x", "episodes": []})
    with pytest.raises(InvalidInput, match="names no episode"):
        await add_nodes_and_edges_bulk(
            graphiti.driver, episodes, mentions, nodes, [*edges, unproven], GraphitiEmbedder(None)
        )
    assert await count(any_database, entities) == 0
    for _ in range(2):
        await add_nodes_and_edges_bulk(graphiti.driver, episodes, mentions, nodes, edges, GraphitiEmbedder(None))
    assert await count(any_database, facts) == 1
    assert await count(any_database, evidence) == 1
    rows = await Outbox(any_database).pending([TOPIC], 0, 100)
    assert {identifier for row in rows for identifier in row.payload.get("facts", [])} == {edges[0].uuid}


async def test_deleting_an_entity_takes_its_facts(any_database: Database, graphiti: Graphiti) -> None:
    group = await ensure_group(any_database, "d", DEFAULT_COLLECTION)
    episodes, mentions, nodes, edges = bulk(group)
    await add_nodes_and_edges_bulk(graphiti.driver, episodes, mentions, nodes, edges, GraphitiEmbedder(None))
    assert (await EntityNode.get_by_uuid(graphiti.driver, nodes[0].uuid)).attributes == {"founded": NOW.isoformat()}
    await nodes[0].delete(graphiti.driver)
    assert await count(any_database, facts) == 0
    assert await count(any_database, evidence) == 0
    assert await EntityEdge.get_by_uuids(graphiti.driver, [edges[0].uuid]) == []
    rows = await Outbox(any_database).pending([TOPIC], 0, 100)
    assert rows[-2].payload == {"gone_facts": [edges[0].uuid]}


async def test_chunks_are_episodes(any_database: Database, graphiti: Graphiti) -> None:
    (chunk,) = await Library(any_database).put("Alpha", "Alpha uses Beta Service.")
    episode = await EpisodicNode.get_by_uuid(graphiti.driver, chunk)
    assert (episode.name, episode.content) == ("Alpha", "Alpha uses Beta Service.")


async def test_cypher_is_refused(any_database: Database, graphiti: Graphiti) -> None:
    with pytest.raises(InvalidInput, match=r"answers no Cypher.*MATCH"):
        await graphiti.driver.execute_query("MATCH (n) RETURN n")
    with pytest.raises(InvalidInput, match="answers no Cypher"):
        await graphiti.build_communities(["d_x"])


async def test_unknown_group_is_refused(any_database: Database, graphiti: Graphiti) -> None:
    with pytest.raises(InvalidInput, match="ensure_group"):
        await EntityNode(name="A", group_id="d_nobody", name_embedding=[0.0]).save(graphiti.driver)


def test_graphiti_is_quiet() -> None:
    assert os.environ["GRAPHITI_TELEMETRY_ENABLED"] == "false"
    assert os.environ["PYTHON_DOTENV_DISABLED"] == "1"


async def test_what_a_model_made_up_is_not_stored(any_database: Database, graphiti: Graphiti) -> None:
    group = await ensure_group(any_database, "d", DEFAULT_COLLECTION)
    episodes, mentions, nodes, edges = bulk(group)
    made_up = edges[0].model_copy(update={"uuid": "x", "fact": "Orion Labs bankrupted three zeppelin factories."})
    everything = [*edges, made_up]
    await add_nodes_and_edges_bulk(graphiti.driver, episodes, mentions, nodes, everything, GraphitiEmbedder(None))
    assert await count(any_database, facts) == 1
    assert await EntityEdge.get_by_uuids(graphiti.driver, ["x"]) == []


async def test_a_model_ends_no_fact_without_another_object(any_database: Database, graphiti: Graphiti) -> None:
    group = await ensure_group(any_database, "d", DEFAULT_COLLECTION)
    episodes, mentions, nodes, edges = bulk(group)
    located = edges[0].model_copy(update={"name": "LOCATED_IN"})
    await add_nodes_and_edges_bulk(graphiti.driver, episodes, mentions, nodes, [located], GraphitiEmbedder(None))
    ended = located.model_copy(update={"invalid_at": NOW, "expired_at": NOW})
    await ended.save(graphiti.driver)
    (kept,) = await EntityEdge.get_by_uuids(graphiti.driver, [located.uuid])
    assert (kept.invalid_at, kept.expired_at) == (None, None)
    porto = EntityNode(name="Porto", group_id=group, name_embedding=[0.0])
    await porto.save(graphiti.driver)
    elsewhere = located.model_copy(update={"uuid": "y", "target_node_uuid": porto.uuid})
    await elsewhere.save(graphiti.driver)
    await ended.save(graphiti.driver)
    (now,) = await EntityEdge.get_by_uuids(graphiti.driver, [located.uuid])
    assert now.expired_at == NOW
