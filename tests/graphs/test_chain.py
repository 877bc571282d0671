"""The graph with its steps joined does what the readable one does, step by step."""

from __future__ import annotations

from typing import Any

import pytest

from aegis.database import Database
from agents.state import Context
from memory.conversations.store import SqlConversations
from tests.graphs.test_answering import QUESTION, World, now

QUESTIONS = (
    QUESTION,
    "How are Anna Berg and Billing connected by the billing service?",
    "What do zebras eat in winter at the zoo of Lima?",
    "Hello!",
    "How many documents are there?",
    "What was my first question?",
)


@pytest.fixture
def world(database: Database) -> World:
    return World(SqlConversations(database, now))


def _same(state: dict[str, Any]) -> dict[str, Any]:
    """Without what a clock has written."""
    kept = {key: value for key, value in state.items() if key not in ("timings", "steps")}
    return kept | {
        "timings": set(state["timings"]),
        "steps": [(step["node"], step["summary"], step["detail"]) for step in state["steps"]],
    }


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("down", ["", "graph", "documents"])
async def test_joined_steps_are_the_same_steps(world: World, question: str, down: str) -> None:
    if down:
        getattr(world, down).down = True
    context = Context("ann", ("default",), fresh=True)
    states = [
        await world.compiled(joined=joined).ainvoke({"question": question}, context=context) for joined in (False, True)
    ]
    assert _same(states[0]) == _same(states[1])


@pytest.mark.parametrize("joined", [False, True])
async def test_a_second_run_forgets_the_first(world: World, joined: bool) -> None:
    """Where a checkpointer keeps the state between runs, as `langgraph dev` does."""
    context = Context("ann", ("default",), fresh=True)
    graph = world.compiled(joined=joined)
    first = await graph.ainvoke({"question": QUESTION}, context=context)
    second = await graph.ainvoke({**first, "question": "Hello!"}, context=context)
    assert (second["found"], second["citations"], second["answer"]) == ([], [], second["answer"])
    assert list(second["timings"]) == ["condense", "recall", "cache", "route", "converse", "remember"]


async def test_a_known_answer_skips_the_rest(world: World) -> None:
    context = Context("ann", ("default",))
    graph = world.compiled()
    await graph.ainvoke({"question": QUESTION}, context=context)
    again = await graph.ainvoke({"question": QUESTION}, context=context)
    assert again["cached"]
    assert list(again["timings"]) == ["condense", "recall", "cache", "remember"]
