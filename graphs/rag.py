"""The state machine, as a builder: no I/O, no prompt. Each caller compiles it.

    condense -> recall -> cache --hit--> remember
                            |
                            '-> route -+-> retrieve ------.
                                 +-> consult_graph -+-> ground -+-> generate -> verify -> keep -> remember
                                 |        ^                     +-> rewrite -> (retrieve, consult_graph)
                                 |        '---------------------'
                                 |                              '-> abstain -> remember
                                 '-> converse | inventory | recount | dispute -> remember

Every route ends in an answer or an explicit abstention. `search` is the part between `route` and the answer alone: what
the answer cache runs again, to see whether an answer would rest on the same sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields

from langgraph.graph import END, START, StateGraph

from agents.ground import next_step
from agents.state import Context, State
from graphs.chain import Chain
from graphs.room import Room
from graphs.step import Node, Scopes, Step


@dataclass(frozen=True)
class Nodes:
    """One for each name in the graph."""

    condense: Node
    recall: Node
    cache: Node
    route: Node
    retrieve: Node
    consult_graph: Node
    ground: Node
    rewrite: Node
    generate: Node
    verify: Node
    keep: Node
    abstain: Node
    converse: Node
    inventory: Node
    recount: Node
    dispute: Node
    remember: Node


AT_ONCE = 4  # steps of all runs that compute at a time: while one works, others wait for an engine
# These compute next to nothing, or wait, for a model or for the answer of another run, which needs room to go on.
UNBOUNDED = ("condense", "recall", "cache", "route", "generate", "keep", "abstain", "converse", "remember")

Graph = StateGraph[State, Context, State, State]


SEARCHING = ("route", "retrieve", "consult_graph", "ground", "rewrite")
WRITING = ("generate", "verify")
ANSWERING = ("converse", "inventory", "recount", "dispute")  # without documents


def build(nodes: Nodes, scopes: Scopes, *, rewrites: int = 1, joined: bool = False) -> Graph:
    """`rewrites` bounds the loop: at most so many new attempts. `joined`: what always follows each other is one node;
    the same steps in the same order, in half the time, and not as readable in studio."""
    graph: Graph = StateGraph(State, context_schema=Context)
    steps = _steps(nodes, scopes)
    if joined:
        _wire_joined(graph, steps, rewrites)
        return graph
    for name, step in steps.items():
        graph.add_node(name, step)  # pyright: ignore[reportArgumentType] - LangGraph takes any callable
    _wire_search(graph, rewrites, "generate", "abstain")
    for start, end in (
        (START, "condense"),
        ("condense", "recall"),
        ("recall", "cache"),
        ("generate", "verify"),
        ("verify", "keep"),
        ("keep", "remember"),
        ("abstain", "remember"),
        *((name, "remember") for name in ANSWERING),
        ("remember", END),
    ):
        graph.add_edge(start, end)
    graph.add_conditional_edges("cache", _known, ["remember", "route"])
    graph.add_conditional_edges("route", _ways, ["retrieve", "consult_graph", *ANSWERING])
    return graph


def _steps(nodes: Nodes, scopes: Scopes) -> dict[str, Step]:
    room = Room(AT_ONCE)
    return {
        field.name: Step(
            field.name,
            getattr(nodes, field.name),
            scopes,
            first=field.name == "condense",
            room=nullcontext() if field.name in UNBOUNDED else room,
        )
        for field in fields(nodes)
    }


# By the first of each; `retrieve` alone stays for where the graph is consulted beside it.
_OPENING = ("condense", "recall", "cache", "route")
_ENDINGS = {
    "generate": ("generate", "verify", "keep", "remember"),
    **{name: (name, "remember") for name in ("abstain", *ANSWERING)},
}
_ALONE = ("retrieve", "consult_graph", "ground", "rewrite", "remember")
LOOKED_UP = "retrieve and ground"


def _wire_joined(graph: Graph, steps: Mapping[str, Step], rewrites: int) -> None:
    chains = {name: Chain([steps[each] for each in names]) for name, names in _ENDINGS.items()}
    chains["condense"] = Chain([steps[name] for name in _OPENING], lambda state: bool(state.get("cached")))
    chains[LOOKED_UP] = Chain([steps["retrieve"], steps["ground"]])
    for name, node in ({name: steps[name] for name in _ALONE} | chains).items():
        graph.add_node(name, node)  # pyright: ignore[reportArgumentType] - LangGraph takes any callable
    graph.add_edge(START, "condense")
    graph.add_edge("retrieve", "ground")
    graph.add_edge("consult_graph", "ground")
    for name in (*_ENDINGS, "remember"):
        graph.add_edge(name, END)

    async def opened(state: State) -> Sequence[str]:
        return _together(["remember"] if state.get("cached") else await _ways(state))

    async def judged(state: State) -> str:
        return next_step(state, rewrites)

    async def again(state: State) -> Sequence[str]:
        return _together(await _searches(state))

    looking = [LOOKED_UP, "retrieve", "consult_graph"]
    graph.add_conditional_edges("condense", opened, ["remember", *looking, *ANSWERING])
    for name in (LOOKED_UP, "ground"):
        graph.add_conditional_edges(name, judged, ["generate", "rewrite", "abstain"])
    graph.add_conditional_edges("rewrite", again, looking)


def _together(names: Sequence[str]) -> Sequence[str]:
    return [LOOKED_UP] if list(names) == ["retrieve"] else names


def search(nodes: Mapping[str, Node], *, rewrites: int = 1, write: bool = False) -> Graph:
    """From a question that stands alone to `found`, `facts`, `route` and `enough`; `nodes` by the names in SEARCHING.

    `write` goes on to the checked answer, and takes `generate` and `verify` besides.

    A question that is not for the documents ends at once.
    """
    graph: Graph = StateGraph(State, context_schema=Context)
    for name in (*SEARCHING, *(WRITING if write else ())):
        graph.add_node(name, nodes[name])  # pyright: ignore[reportArgumentType] - LangGraph takes any callable
    _wire_search(graph, rewrites, "generate" if write else END, END)
    if write:
        graph.add_edge("generate", "verify")
        graph.add_edge("verify", END)
    graph.add_edge(START, "route")
    graph.add_conditional_edges("route", _into_documents, ["retrieve", "consult_graph", END])
    return graph


def _wire_search(graph: Graph, rewrites: int, enough: str, too_little: str) -> None:
    graph.add_edge("retrieve", "ground")
    graph.add_edge("consult_graph", "ground")
    graph.add_conditional_edges("rewrite", _searches, ["retrieve", "consult_graph"])

    async def judged(state: State) -> str:
        return {"generate": enough, "abstain": too_little, "rewrite": "rewrite"}[next_step(state, rewrites)]

    graph.add_conditional_edges("ground", judged, list(dict.fromkeys((enough, "rewrite", too_little))))


# Conditions are coroutines: LangGraph sends plain functions to a thread.


async def _known(state: State) -> str:
    return "remember" if state.get("cached") else "route"


async def _ways(state: State) -> Sequence[str]:
    route = state.get("route", "retrieve")
    if route in ("converse", "inventory", "dispute"):
        return [route]
    return ["recount"] if route == "recall" else await _searches(state)


async def _into_documents(state: State) -> Sequence[str]:
    return await _searches(state) if state.get("route") in ("retrieve", "relate") else [END]


async def _searches(state: State) -> Sequence[str]:
    return ["retrieve", "consult_graph"] if state.get("route") == "relate" else ["retrieve"]
