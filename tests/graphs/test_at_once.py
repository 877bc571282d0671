"""What is at hand is answered without a run of the graph, in one transaction, and looks the same to everybody."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from aegis.database import Database
from aegis.errors import NotFound, StoreUnavailable
from aegis.scope import Scope
from memory.conversations import Turn
from memory.conversations.store import SqlConversations
from tests.graphs.test_answering import ANN, QUESTION, World, ended, kinds, now, seen

RUN = ["condense", "recall", "cache", "remember"]


@pytest.fixture
def world(database: Database) -> World:
    return World(SqlConversations(database, now))


@pytest.fixture
def begun(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Questions that were committed before their answer: those that went through the graph."""
    asked: list[str] = []
    begin = world.conversations.begin

    async def noted(scope: Scope, turn: Turn) -> None:
        asked.append(turn.question)
        await begin(scope, turn)

    monkeypatch.setattr(world.conversations, "begin", noted)
    return asked


async def test_the_same_question_is_answered_at_once_and_its_turn_is_whole(world: World, begun: list[str]) -> None:
    answering = world.answering()
    first = await (await answering.ask(ANN, QUESTION)).result()
    run = await answering.ask(ANN, QUESTION.removesuffix("?"))
    assert run.ended
    assert len(begun) == 1
    events = await seen(run)
    assert kinds(events) == ["metadata", "step", "token", "citations", "followups", "done"]
    assert ended(events) == RUN
    turn = await run.result()
    assert (turn.state, turn.answer, turn.citations) == ("done", first.answer, first.citations)
    assert turn.cached is not None
    assert turn.cached["turn_id"] == first.id
    assert set(turn.timings) == set(RUN)
    kept = await world.conversations.turn(ANN, turn.id)
    assert (kept.answer, kept.citations, kept.chunk_ids, kept.cached) == (
        turn.answer,
        turn.citations,
        turn.chunk_ids,
        turn.cached,
    )
    assert [step["node"] for step in kept.steps] == RUN[:-1]
    assert answering.running(ANN, run.conversation_id) is None


async def test_it_is_one_transaction(world: World, database: Database, begun: list[str]) -> None:
    answering, commits = world.answering(), list[str]()
    await (await answering.ask(ANN, QUESTION)).result()

    def seen_(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        commits.append(statement.split()[0])

    from sqlalchemy import Engine

    event.listen(Engine, "before_cursor_execute", seen_)
    try:
        await answering.ask(ANN, QUESTION)
    finally:
        event.remove(Engine, "before_cursor_execute", seen_)
    assert commits.count("SELECT") <= 4
    assert len(commits) <= 14
    assert len(begun) == 1


async def test_what_was_published_since_is_looked_at_by_the_graph(world: World, begun: list[str]) -> None:
    answering = world.answering()
    await (await answering.ask(ANN, QUESTION)).result()
    world.documents.now += 1
    turn = await (await answering.ask(ANN, QUESTION)).result()
    assert turn.cached is not None
    assert len(begun) == 2
    assert len(world.documents.requests) == 2
    assert (await answering.ask(ANN, QUESTION)).ended  # it was stamped anew


@pytest.mark.parametrize("asking", [{"fresh": True}, {"mode": "keyword"}, {"top_k": 3}, {"filters": {"tag": ["a"]}}])
async def test_whoever_asks_otherwise_gets_a_run(world: World, begun: list[str], asking: dict[str, Any]) -> None:
    answering = world.answering()
    await (await answering.ask(ANN, QUESTION)).result()
    turn = await (await answering.ask(ANN, QUESTION, **asking)).result()
    assert turn.cached is None
    assert len(begun) == 2


async def test_nobody_gets_what_another_was_answered(world: World) -> None:
    answering = world.answering()
    await (await answering.ask(ANN, QUESTION)).result()
    assert (await (await answering.ask(Scope("bob"), QUESTION)).result()).cached is None
    elsewhere = Scope("ann", frozenset({"other"}))
    assert (await (await answering.ask(elsewhere, QUESTION)).result()).cached is None


async def test_what_the_person_has_deleted_is_not_given_again(world: World, begun: list[str]) -> None:
    answering = world.answering()
    first = await (await answering.ask(ANN, QUESTION)).result()
    await world.conversations.delete(ANN, first.conversation_id)
    assert (await (await answering.ask(ANN, QUESTION)).result()).cached is None
    assert len(begun) == 2


async def test_in_a_conversation_the_question_is_understood_first(world: World, begun: list[str]) -> None:
    answering = world.answering()
    first = await (await answering.ask(ANN, QUESTION)).result()
    turn = await (await answering.ask(ANN, QUESTION, conversation_id=first.conversation_id)).result()
    assert turn.cached is not None
    assert len(begun) == 2


async def test_a_turn_that_cannot_be_saved_is_not_answered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answering = world.answering()
    await (await answering.ask(ANN, QUESTION)).result()

    async def broken(scope: Scope, turn: Turn) -> None:
        raise StoreUnavailable("The relational store does not answer.")

    monkeypatch.setattr(world.conversations, "finish", broken)
    with pytest.raises(StoreUnavailable):
        await answering.ask(ANN, QUESTION)
    assert not answering.busy
    monkeypatch.undo()
    turn = await (await answering.ask(ANN, QUESTION)).result()
    assert turn.cached is not None
    with pytest.raises(NotFound):
        await world.conversations.turn(ANN, "another")
