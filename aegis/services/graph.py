"""Part of the composition root: Neo4j where the settings name it, and who is asked for neighbourhoods."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from aegis.database import Database
from aegis.database.leases import Leases
from aegis.database.outbox import Outbox
from aegis.services.clock import now
from aegis.settings import Neo4jSettings, Settings

if TYPE_CHECKING:
    from memory.facts import Neighbourhoods
    from memory.facts.neo4j import Neo4jGraph
    from memory.facts.projection import GraphProjection
    from retrieval.catalogue import Catalogue


async def open_graph(settings: Settings, stack: AsyncExitStack) -> Neo4jGraph | None:
    if not isinstance(settings.graph, Neo4jSettings):
        return None
    from memory.facts.neo4j import open_neo4j

    return await stack.enter_async_context(open_neo4j(settings.graph))


def graph_projection(
    graph: Neo4jGraph | None, database: Database, outbox: Outbox, leases: Leases | None
) -> GraphProjection | None:
    if graph is None:
        return None
    from memory.facts.neo4j import Neo4jProjection
    from memory.facts.projection import GraphProjection

    return GraphProjection(database, outbox, Neo4jProjection(graph, database), leases, now)


def neighbourhoods_of(graph: Neo4jGraph | None, database: Database, catalogue: Catalogue) -> Neighbourhoods:
    from memory.facts.neighbourhoods import RelationalNeighbourhoods

    tables = RelationalNeighbourhoods(database, catalogue)
    if graph is None:
        return tables
    from memory.facts.neo4j import Neo4jNeighbourhoods

    return Neo4jNeighbourhoods(graph, tables)
