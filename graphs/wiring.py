"""The graph over the services of this process: each node is handed the narrowest thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import cast

from aegis import __version__
from aegis.scope import Scope, local_scope, text_hash
from aegis.services import Services
from agents.abstain import Abstain
from agents.cache import Again, FromCache, KeepAnswer, Lookup
from agents.condense import Condense
from agents.consult_graph import ConsultGraph
from agents.converse import Converse
from agents.dispute import Dispute
from agents.generate import Generate
from agents.ground import Ground, Meanings
from agents.inventory import Inventory
from agents.prompts import PROMPT_VERSION
from agents.recall import Recall, Recount
from agents.remember import Remember
from agents.retrieve import Retrieve, Stays
from agents.reword import Reword
from agents.rewrite import Rewrite
from agents.route import Router
from agents.rows import RowCounter
from agents.state import Context, State
from agents.verify import Verify
from agents.window import Window
from graphs.at_once import AtOnce, at_once
from graphs.rag import Graph, Nodes, build, search
from graphs.step import Node, Scopes


def now() -> datetime:
    return datetime.now(UTC)


def graph_of(services: Services, nodes: Nodes | None = None, *, joined: bool = True) -> Graph:
    rewrites = services.settings.chat.rewrites
    return build(nodes or nodes_of(services), _visible(services), rewrites=rewrites, joined=joined)


def known_of(services: Services, nodes: Nodes) -> AtOnce:
    return at_once(nodes, cast(FromCache, nodes.cache), _visible(services))


def _visible(services: Services) -> Scopes:
    async def local(context: Context) -> Scope:
        return local_scope(await services.catalogue.collections())

    return local


def nodes_of(services: Services, clock: Callable[[], datetime] = now) -> Nodes:
    chat, catalogue, conversations = services.settings.chat, services.catalogue, services.conversations
    searching = searching_nodes(services)
    reword = Reword(services.writer, chat.query_timeout)
    lookup = Lookup(answered_by(services), services.settings.answer_cache.enabled)
    static, answers, meanings = services.static, services.answers, meanings_of(services)
    again = searched_again(searching, chat.rewrites)
    written = searched_again(searching, chat.rewrites, write=True)
    return Nodes(
        **searching,
        condense=Condense(conversations, catalogue.epoch, chat.history_turns, reword),
        recall=Recall(conversations, services.facts),
        cache=FromCache(answers, catalogue, conversations, meanings, lookup, again, static.word_vectors, written),
        keep=KeepAnswer(answers, catalogue, static.embed, lookup, clock),
        abstain=Abstain(),
        converse=Converse(),
        inventory=Inventory(catalogue, services.facts, clock),
        recount=Recount(),
        dispute=Dispute(conversations, services.facts),
        remember=Remember(conversations),
    )


def meanings_of(services: Services) -> Meanings:
    return Meanings(services.static.embed, services.closer.nearest)


def stays_of(services: Services) -> Stays:
    """Asked where questions go to an embedder elsewhere."""

    async def stays(scope: Scope, conversation_id: str) -> bool:
        return services.embedder.elsewhere and await services.sharing.stays(scope, conversation_id)

    return stays


def searching_nodes(services: Services) -> dict[str, Node]:
    """From the route to the checked answer."""
    chat, catalogue, stays = services.settings.chat, services.catalogue, stays_of(services)
    return {
        "route": Router(RowCounter(catalogue)),
        "retrieve": Retrieve(services.searcher, stays),
        "consult_graph": ConsultGraph(services.facts, services.neighbourhoods, catalogue, services.searcher, stays),
        "ground": Ground(catalogue, meanings_of(services), chat.rewrites),
        "rewrite": Rewrite(),
        "generate": Generate(
            catalogue,
            services.writer,
            services.writer.window,
            services.sharing.may_leave,
            window=Window(services.conversations),
        ),
        "verify": Verify(catalogue, services.conflicts),
    }


def search_of(services: Services) -> Again:
    """The search of a run over these services, by itself."""
    return searched_again(searching_nodes(services), services.settings.chat.rewrites)


def searched_again(nodes: Mapping[str, Node], rewrites: int, *, write: bool = False) -> Again:
    """The search of a run, by itself; `write`: and the answer. Its steps are shown to nobody."""
    compiled = search(nodes, rewrites=rewrites, write=write).compile(name="search")

    async def again(state: State, context: Context) -> State:
        asked: State = {"question": state["question"], "standalone": state["standalone"]}
        if "epoch" in state:
            asked["epoch"] = state["epoch"]
        return cast(State, await compiled.ainvoke(asked, context=context, config={"callbacks": []}))

    return again


def answered_by(services: Services) -> Callable[[], str]:
    """What makes answers in this process, the writer first; another of any of these may answer otherwise."""
    settings = services.settings
    ways = repr((settings.retrieval.model_dump_json(), settings.chat.rewrites, settings.ollama.num_ctx, PROMPT_VERSION))

    @lru_cache(maxsize=8)
    def made(embedder: str) -> str:
        return text_hash(f"{__version__} {embedder} {ways}")[:16]

    return lambda: f"{services.writer.name} {made(services.embedder.name)}"
