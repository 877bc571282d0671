"""The graph over the services of this process: each node is handed the narrowest thing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from aegis.scope import Scope, local_scope
from aegis.services import Services
from agents.abstain import Abstain
from agents.condense import Condense
from agents.consult_graph import ConsultGraph
from agents.converse import Converse
from agents.generate import Generate
from agents.ground import Ground
from agents.inventory import Inventory
from agents.recall import Recall, Recount
from agents.remember import Remember
from agents.retrieve import Retrieve
from agents.rewrite import Rewrite
from agents.route import Router
from agents.state import Context
from agents.verify import Verify
from graphs.rag import Graph, Nodes, build


def now() -> datetime:
    return datetime.now(UTC)


def graph_of(services: Services, clock: Callable[[], datetime] = now) -> Graph:
    async def local(context: Context) -> Scope:
        return local_scope(await services.catalogue.collections())

    return build(nodes_of(services, clock), local, rewrites=services.settings.chat.rewrites)


def nodes_of(services: Services, clock: Callable[[], datetime]) -> Nodes:
    chat, catalogue, conversations = services.settings.chat, services.catalogue, services.conversations
    return Nodes(
        condense=Condense(conversations, catalogue.epoch, chat.history_turns),
        recall=Recall(conversations),
        route=Router(),
        retrieve=Retrieve(services.searcher),
        consult_graph=ConsultGraph(services.facts, services.neighbourhoods, catalogue, services.searcher),
        ground=Ground(catalogue, services.static.embed, chat.rewrites),
        rewrite=Rewrite(),
        generate=Generate(catalogue, services.writer, services.settings.ollama.num_ctx),
        verify=Verify(catalogue),
        abstain=Abstain(),
        converse=Converse(),
        inventory=Inventory(catalogue, services.facts, clock),
        recount=Recount(),
        remember=Remember(conversations),
    )
