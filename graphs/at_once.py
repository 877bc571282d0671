"""A question that was answered before, when nothing was published since: the same steps, without a run of the graph.

The answer is at hand, so its turn is committed once, whole, instead of with its question first. Whatever needs a model,
a search or the answer of another run to be looked at goes through the graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langgraph.runtime import Runtime

from agents.cache import AtHand, FromCache
from agents.state import Context, State
from graphs.chain import merged
from graphs.rag import Nodes
from graphs.step import Scopes, Step


@dataclass(frozen=True)
class Answered:
    """`events` are what the steps have told, in order."""

    state: State
    events: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class AtOnce:
    """For a question that opens a conversation: nothing before it can change what it means."""

    kept: FromCache
    looking: Sequence[Step]  # condense, recall, cache
    remember: Step

    async def __call__(self, question: str, context: Context) -> Answered | None:
        """None where it is not at hand; then nothing was written. Raises StoreUnavailable."""
        state: State = {"question": question, "standalone": " ".join(question.split())}
        if await self.kept.at_hand(state, context) is None:
            return None
        events: list[Mapping[str, Any]] = []
        runtime = Runtime(context=context, stream_writer=events.append)
        for step in self.looking:
            state = merged(state, await step(state, runtime))
        if not state.get("cached"):
            return None
        return Answered(merged(state, await self.remember(state, runtime)), events)


def at_once(nodes: Nodes, kept: FromCache, scopes: Scopes) -> AtOnce:
    looking = {"condense": nodes.condense, "recall": nodes.recall, "cache": AtHand(kept)}
    steps = [Step(name, node, scopes) for name, node in looking.items()]
    return AtOnce(kept, steps, Step("remember", nodes.remember, scopes))
