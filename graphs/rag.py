"""The state machine, as a builder: no I/O, no prompt. Each caller compiles it.

    condense -> recall -> route -+-> retrieve ------.
                                 +-> consult_graph -+-> ground -+-> generate -> verify -> remember
                                 |        ^                     +-> rewrite -> (retrieve, consult_graph)
                                 |        '---------------------'
                                 |                              '-> abstain -> remember
                                 '-> converse | inventory | recount -> remember

Every route ends in an answer or an explicit abstention. The answer cache will stand between `recall` and `route`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from langgraph.graph import END, START, StateGraph

from agents.ground import next_step
from agents.state import Context, State
from graphs.step import Node, Scopes, Step


@dataclass(frozen=True)
class Nodes:
    """One for each name in the graph."""

    condense: Node
    recall: Node
    route: Node
    retrieve: Node
    consult_graph: Node
    ground: Node
    rewrite: Node
    generate: Node
    verify: Node
    abstain: Node
    converse: Node
    inventory: Node
    recount: Node
    remember: Node


Graph = StateGraph[State, Context, State, State]


def build(nodes: Nodes, scopes: Scopes, *, rewrites: int = 1) -> Graph:
    """`rewrites` bounds the loop: at most so many new attempts."""
    graph: Graph = StateGraph(State, context_schema=Context)
    for field in fields(nodes):
        step = Step(field.name, getattr(nodes, field.name), scopes, first=field.name == "condense")
        graph.add_node(field.name, step)  # pyright: ignore[reportArgumentType] - LangGraph takes any callable
    _wire(graph, rewrites)
    return graph


def _wire(graph: Graph, rewrites: int) -> None:
    for start, end in (
        (START, "condense"),
        ("condense", "recall"),
        ("recall", "route"),
        ("retrieve", "ground"),
        ("consult_graph", "ground"),
        ("generate", "verify"),
        ("verify", "remember"),
        ("abstain", "remember"),
        ("converse", "remember"),
        ("inventory", "remember"),
        ("recount", "remember"),
        ("remember", END),
    ):
        graph.add_edge(start, end)
    graph.add_conditional_edges("route", _ways, ["retrieve", "consult_graph", "converse", "inventory", "recount"])
    graph.add_conditional_edges("rewrite", _searches, ["retrieve", "consult_graph"])

    def judged(state: State) -> str:
        return next_step(state, rewrites)

    graph.add_conditional_edges("ground", judged, ["generate", "rewrite", "abstain"])


def _ways(state: State) -> Sequence[str]:
    route = state.get("route", "retrieve")
    if route in ("converse", "inventory"):
        return [route]
    return ["recount"] if route == "recall" else _searches(state)


def _searches(state: State) -> Sequence[str]:
    return ["retrieve", "consult_graph"] if state.get("route") == "relate" else ["retrieve"]
