"""Questions about oneself, answered from what one stated; and statements, which are noted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agents.converse import NOTED, Converse
from agents.recall import Recall, Recount
from agents.route import Router
from agents.state import Context
from memory.conversations import Turn
from memory.conversations.store import SqlConversations
from tests.memory.facts.test_control import ANN, DAY, World


class Runtime:
    def __init__(self, **context: Any) -> None:
        self.context = Context(user="ann", collections=("default",), **context)

    def stream_writer(self, _piece: Any) -> None: ...


async def asked(world: World, question: str, **context: Any) -> tuple[str, str]:
    """Route and answer."""
    runtime: Any = Runtime(**context)
    recall = Recall(SqlConversations(world.database, lambda: DAY), world.facts)
    state: Any = {"question": question, "standalone": question}
    state |= await recall(state, runtime)
    state |= await Router()(state, runtime)
    if state["route"] == "recall":
        state |= await Recount()(state, runtime)
    elif state["route"] == "converse":
        state |= await Converse()(state, runtime)
    return state["route"], state.get("answer", "")


@pytest.fixture
async def world(database: Any) -> World:
    world = World(database)
    await world.say("I live in Bern.")
    await world.say("I moved to Basel.", 5)
    await world.say("My favourite colour is green.")
    await world.say("My manager is Tom Hill.")
    await world.say("I work at Acme.")
    await world.say("I have a dog named Rex.")
    await world.library.put("Travel policy", "The travel policy of Acme covers train tickets in Europe.")
    return world


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("Where do I live?", "“I moved to Basel.” (2024-01-10)"),
        ("What is my favourite colour?", "My favourite colour is green."),
        ("Who is my boss?", "My manager is Tom Hill."),
        ("Where do I work?", "I work at Acme."),
        ("What is my dog called?", "I have a dog named Rex."),
        ("What do you know about me?", "I work at Acme."),
    ],
)
async def test_told_with_its_memory(world: World, question: str, says: str) -> None:
    route, answer = await asked(world, question)
    assert route == "recall"
    assert answer.startswith("From what you told me:")
    assert says in answer


async def test_turns_that_only_share_words_are_not_told_as_well(world: World) -> None:
    conversations, turn = SqlConversations(world.database, lambda: DAY), Turn("t1", "c", "How does the index work?")
    await conversations.begin(ANN, turn)
    await conversations.finish(ANN, replace(turn, state="done", answer="Its work is done in a child process."))
    _, answer = await asked(world, "Where do I work?", conversation_id="c")
    assert "I work at Acme." in answer
    assert "you wrote" not in answer


async def test_as_of(world: World) -> None:
    _, answer = await asked(world, "Where do I live?", as_of="2024-01-07")
    assert "I live in Bern." in answer


@pytest.mark.parametrize(
    "question",
    ["Which tickets does the travel policy cover?", "What does my travel policy cover in Europe?", "Who is Tom Hill?"],
)
async def test_documents_are_asked_where_nothing_stated_answers(world: World, question: str) -> None:
    assert (await asked(world, question))[0] in ("retrieve", "relate")


async def test_a_statement_is_noted(world: World) -> None:
    assert await asked(world, "I live in Oslo now.") == ("converse", NOTED)
    assert (await asked(world, "I work at Acme. Which tickets does the travel policy cover?"))[0] == "retrieve"


async def test_another_user_learns_nothing(world: World) -> None:
    assert await world.facts.search(ANN.documents_only(), "Where do I live? Basel Bern") == []
