"""The contract of `Conversations`, on every relational store."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from aegis.database import Database
from aegis.errors import InvalidInput, NotFound
from aegis.scope import Scope, new_id
from memory.conversations import MAX_TITLE, Citation, Turn, title_of
from memory.conversations.store import SqlConversations
from memory.conversations.tables import turns

ANN = Scope("ann")
BOB = Scope("bob")
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clock:
    """One second later at each look."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def store(any_database: Database) -> SqlConversations:
    return SqlConversations(any_database, Clock())


def asked(question: str = "What is Qdrant?", conversation: str | None = None) -> Turn:
    return Turn(new_id(), conversation or new_id(), question)


CITATION = Citation(1, "d", "v", "c", "file:///a.md", "A", 3, 9, "vector", 0.75, page="2", heading="Intro > Why")


def answered(turn: Turn) -> Turn:
    return replace(
        turn,
        state="done",
        answer="A vector database [1].",
        standalone="What is Qdrant?",
        route="retrieve",
        citations=(CITATION,),
        chunk_ids=("c", "c2"),
        fact_ids=("f",),
        model="extractive",
        tokens_in=10,
        tokens_out=5,
        epoch=7,
        timings={"retrieve": 1.25},
        steps=({"node": "retrieve", "detail": {"hits": 2}},),
        notes=("No model is configured.",),
    )


async def test_turn_is_there_from_its_question_on_and_whole_when_finished(store: SqlConversations) -> None:
    turn = asked()
    await store.begin(ANN, turn)
    assert [(seen.state, seen.question) for seen in await store.history(ANN, turn.conversation_id)] == [
        ("running", "What is Qdrant?")
    ]
    await store.finish(ANN, answered(turn))
    [seen] = await store.history(ANN, turn.conversation_id)
    assert seen == replace(answered(turn), created_at=seen.created_at)
    assert seen == await store.turn(ANN, turn.id)


async def test_finish_needs_no_begin_and_may_be_repeated(store: SqlConversations) -> None:
    turn = answered(asked())
    await store.finish(ANN, turn)
    await store.feedback(ANN, turn.id, {"value": 1})
    await store.finish(ANN, replace(turn, answer="Better."))
    [seen] = await store.history(ANN, turn.conversation_id)
    assert (seen.answer, seen.feedback) == ("Better.", {"value": 1})


async def test_a_turn_the_store_dislikes_is_kept_all_the_same(store: SqlConversations) -> None:
    turn = replace(answered(asked("nul \0 and half \ud83d pair")), timings={"x": float("nan")}, answer="a\0b")
    await store.finish(ANN, turn)
    [seen] = await store.history(ANN, turn.conversation_id)
    assert "\0" not in seen.question + seen.answer
    json.dumps(seen.timings, allow_nan=False)


async def test_nothing_of_another_user_is_seen_or_changed(store: SqlConversations) -> None:
    turn = asked()
    await store.finish(ANN, answered(turn))
    conversation = turn.conversation_id
    assert await store.history(BOB, conversation) == []
    assert await store.list(BOB) == []
    assert await store.mentioning(BOB, ["Qdrant"]) == []
    for attempt in (
        store.get(BOB, conversation),
        store.turn(BOB, turn.id),
        store.rename(BOB, conversation, "mine"),
        store.delete(BOB, conversation),
        store.feedback(BOB, turn.id, {"value": 0}),
        store.begin(BOB, asked("May I?", conversation)),
        store.finish(BOB, answered(turn)),
    ):
        with pytest.raises(NotFound):
            await attempt
    [seen] = await store.history(ANN, conversation)
    assert seen.feedback is None
    assert (await store.get(ANN, conversation)).title == "What is Qdrant?"


async def test_turns_at_once_get_numbers_of_their_own(store: SqlConversations, any_database: Database) -> None:
    conversation = new_id()
    many = [asked(f"Question {number}?", conversation) for number in range(12)]
    await asyncio.gather(*(store.begin(ANN, turn) for turn in many))
    await asyncio.gather(*(store.finish(ANN, answered(turn)) for turn in many))
    async with any_database.read() as connection:
        numbers = (await connection.execute(select(turns.c.ordinal).order_by(turns.c.ordinal))).scalars().all()
    assert numbers == list(range(1, 13))
    assert len(await store.list(ANN)) == 1
    assert [turn.state for turn in await store.history(ANN, conversation)] == ["done"] * 12


async def test_history_gives_the_last_turns_in_order(store: SqlConversations) -> None:
    conversation = new_id()
    for number in range(5):
        await store.finish(ANN, asked(f"{number}?", conversation))
    assert [turn.question for turn in await store.history(ANN, conversation, last=2)] == ["3?", "4?"]
    assert await store.history(ANN, conversation, last=0) == []
    assert await store.history(ANN, new_id()) == []


async def test_list_pages_newest_first_without_gaps(store: SqlConversations) -> None:
    ids = [new_id() for _ in range(5)]
    for identifier in ids:
        await store.begin(ANN, asked(conversation=identifier))
    await store.begin(ANN, asked("again", ids[0]))
    seen: list[str] = []
    before = ""
    while page := await store.list(ANN, before=before, limit=2):
        seen += [conversation.id for conversation in page]
        before = page[-1].cursor
    assert seen == [ids[0], *ids[:0:-1]]
    for wrong in ("x", ":", "9" * 40 + ":a"):
        with pytest.raises(InvalidInput):
            await store.list(ANN, before=wrong)


async def test_rename_and_delete(store: SqlConversations, any_database: Database) -> None:
    turn = asked("x" * 500)
    await store.begin(ANN, turn)
    assert len((await store.get(ANN, turn.conversation_id)).title) <= MAX_TITLE
    assert (await store.rename(ANN, turn.conversation_id, "  Two\n words ")).title == "Two words"
    with pytest.raises(InvalidInput):
        await store.rename(ANN, turn.conversation_id, " \n")
    await store.delete(ANN, turn.conversation_id)
    with pytest.raises(NotFound):
        await store.get(ANN, turn.conversation_id)
    async with any_database.read() as connection:
        assert (await connection.execute(select(turns))).all() == []


async def test_turns_of_a_dead_process_are_marked_interrupted(store: SqlConversations) -> None:
    left, done = asked(), asked()
    await store.begin(ANN, left)
    await store.finish(ANN, answered(done))
    assert await store.interrupt_running(begun_before=START) == 0
    assert await store.interrupt_running() == 1
    assert (await store.turn(ANN, left.id)).state == "interrupted"
    assert (await store.turn(ANN, done.id)).state == "done"
    await store.finish(ANN, answered(left))  # it was alive after all
    assert (await store.turn(ANN, left.id)).state == "done"


async def test_mentioning_finds_finished_turns_by_word(store: SqlConversations) -> None:
    about_dogs = replace(asked("My dog is called Bello."), state="done", answer="Noted.")
    about_cats = replace(asked("And cats?"), state="done", answer="Cats are 100% fine.")
    for turn in (about_dogs, about_cats):
        await store.finish(ANN, turn)
    await store.begin(ANN, asked("dog?"))
    assert [turn.id for turn in await store.mentioning(ANN, ["DOG"])] == [about_dogs.id]
    assert [turn.id for turn in await store.mentioning(ANN, ["0%"])] == [about_cats.id]
    assert await store.mentioning(ANN, ["%"], limit=5) == await store.mentioning(ANN, ["100%"])
    assert await store.mentioning(ANN, []) == []


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("What\nis   this?", "What is this?"),
        ("word " * 40, ("word " * 15).strip() + "…"),
        ("y" * 200, "y" * (MAX_TITLE - 1) + "…"),
    ],
)
def test_title_is_the_first_words(question: str, title: str) -> None:
    assert title_of(question) == title
