"""Graphiti's own search, in Cypher on a Neo4j that holds the facts with their embeddings: the rival of `memory`.

The server is the one that AEGIS_TEST_NEO4J_URL names, or one started as the tests start theirs. As such a search looks
at every fact, filling and asking it are bounded in time: what it held by then is told with its figures.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString, Protocol, cast
from uuid import uuid4

import numpy as np

from retrieval.embedding import Embedder

VARIABLE = "AEGIS_TEST_NEO4J_URL"
FILLING = 120.0  # seconds at most
ASKING = 45.0
BATCH = 500  # facts in one transaction
_DROP = "MATCH (node:Entity {group_id: $group}) WITH node LIMIT 1000 DETACH DELETE node RETURN count(*) AS gone"


class Stated(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def relation(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def at(self) -> datetime: ...


def no_model() -> Any:
    """Graphiti wants a language model; searching asks none."""
    from graphiti_core.llm_client.client import LLMClient
    from graphiti_core.llm_client.config import LLMConfig

    class NoModel(LLMClient):
        async def _generate_response(self, *_: Any, **__: Any) -> dict[str, Any]:
            raise NotImplementedError

    return NoModel(LLMConfig(api_key="none", model="none"))


async def searched(
    url: str, made: Sequence[Stated], asked: Sequence[tuple[str, str | None]], embedder: Embedder
) -> dict[str, Any]:
    """`asked`: questions, and the id of the fact to be found where there is one."""
    from graphiti_core import Graphiti

    from memory.facts.driver import GraphitiEmbedder, WordReranker

    logging.getLogger("neo4j").setLevel(logging.ERROR)  # a warning for every property that no fact has yet
    logging.getLogger("graphiti_core").setLevel(logging.CRITICAL)  # it makes its indexes side by side, some twice
    group = f"bench-{uuid4()}"
    graphiti = Graphiti(
        url, "", "", llm_client=no_model(), embedder=GraphitiEmbedder(embedder), cross_encoder=WordReranker()
    )
    try:
        await graphiti.build_indices_and_constraints()
        began = time.perf_counter()
        held = await _filled(graphiti.driver, group, made, embedder)
        wrote = time.perf_counter() - began
        taken, found, wanted = await _asked(graphiti, group, asked, {each.id for each in made[:held]})
    finally:
        if VARIABLE in os.environ:  # somebody's server, who wants it as it was
            await _emptied(graphiti.driver, group)
        await graphiti.close()
    p50, p95 = np.percentile(taken, (50, 95))
    return {
        "facts": held,
        "questions": len(taken),
        "ms_p50": round(float(p50), 2),
        "ms_p95": round(float(p95), 2),
        "found": round(found / wanted, 3) if wanted else None,
        "facts_per_second_written": round(held / wrote),
    }


async def _emptied(driver: Any, group: str) -> None:
    while (await driver.execute_query(cast(LiteralString, _DROP), params={"group": group})).records[0]["gone"]:
        pass


async def _filled(driver: Any, group: str, made: Sequence[Stated], embedder: Embedder) -> int:
    """How many facts it holds when the time is over."""
    from graphiti_core.edges import EntityEdge
    from graphiti_core.nodes import EntityNode
    from graphiti_core.utils.bulk_utils import add_nodes_and_edges_bulk

    from memory.facts.driver import GraphitiEmbedder

    nodes: dict[str, EntityNode] = {}
    until, held = time.monotonic() + FILLING, 0
    while held < len(made) and time.monotonic() < until:
        part = made[held : held + BATCH]
        new = list(dict.fromkeys(end for each in part for end in (each.source, each.target)))
        new = [name for name in new if name not in nodes]
        vectors = (await embedder.embed([*new, *(each.text for each in part)])).tolist()
        for name, vector in zip(new, vectors, strict=False):
            nodes[name] = EntityNode(
                uuid=str(uuid4()), name=name, group_id=group, labels=[], created_at=part[0].at, name_embedding=vector
            )
        edges = [
            EntityEdge(
                uuid=each.id,
                group_id=group,
                source_node_uuid=nodes[each.source].uuid,
                target_node_uuid=nodes[each.target].uuid,
                name=each.relation.upper().replace(" ", "_"),
                fact=each.text,
                fact_embedding=vector,
                created_at=each.at,
                valid_at=each.at,
            )
            for each, vector in zip(part, vectors[len(new) :], strict=True)
        ]
        await add_nodes_and_edges_bulk(driver, [], [], [nodes[name] for name in new], edges, GraphitiEmbedder(embedder))
        held += len(part)
    return held


async def _asked(
    graphiti: Any, group: str, asked: Sequence[tuple[str, str | None]], held: set[str]
) -> tuple[list[float], int, int]:
    """Milliseconds of each question, how many facts were found, and how many could be."""
    taken, found, could = list[float](), 0, 0
    until = time.monotonic() + ASKING
    for question, wanted in asked:
        if time.monotonic() > until:
            break
        began = time.perf_counter()
        edges = await graphiti.search(question, group_ids=[group], num_results=10)
        taken.append((time.perf_counter() - began) * 1000)
        if wanted in held:
            could += 1
            found += any(edge.uuid == wanted for edge in edges)
    return taken, found, could
