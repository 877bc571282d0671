"""The contract of `Conversations`, on every relational store."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from aegis.database import Database
from aegis.database.outbox import Outbox
from aegis.errors import InvalidInput, NotFound
from aegis.scope import new_id
from inference.sharing import drawn_on
from memory.conversations import MAX_TITLE, RECENT, Conversations, title_of
from memory.conversations.store import SqlConversations
from memory.conversations.tables import TURNS_TOPIC, turns
from tests.memory.conversations.talks import ANN, BOB, CITATION, START, answered, asked, tiers


@pytest.fixture(params=["rows", "tiers"])
def store(request: pytest.FixtureRequest, any_database: Database, tmp_path: Path) -> Conversations:
    kept = tiers(any_database, tmp_path)
    return kept if request.param == "tiers" else kept.store


@pytest.fixture
def rows(any_database: Database, tmp_path: Path) -> SqlConversations:
    return tiers(any_database, tmp_path).store


async def test_turn_is_there_from_its_question_on_and_whole_when_finished(store: Conversations) -> None:
    turn = asked()
    await store.begin(ANN, turn)
    assert [(seen.state, seen.question) for seen in await store.history(ANN, turn.conversation_id)] == [
        ("running", "What is Qdrant?")
    ]
    await store.finish(ANN, answered(turn))
    [seen] = await store.history(ANN, turn.conversation_id)
    assert seen == replace(answered(turn), created_at=seen.created_at)
    assert seen == await store.turn(ANN, turn.id)


async def test_finish_needs_no_begin_and_may_be_repeated(store: Conversations) -> None:
    turn = answered(asked())
    await store.finish(ANN, turn)
    await store.feedback(ANN, turn.id, {"value": 1})
    await store.finish(ANN, replace(turn, answer="Better."))
    [seen] = await store.history(ANN, turn.conversation_id)
    assert (seen.answer, seen.feedback) == ("Better.", {"value": 1})


async def test_a_turn_the_store_dislikes_is_kept_all_the_same(store: Conversations) -> None:
    turn = replace(answered(asked("nul \0 and half \ud83d pair")), timings={"x": float("nan")}, answer="a\0b")
    await store.finish(ANN, turn)
    [seen] = await store.history(ANN, turn.conversation_id)
    assert "\0" not in seen.question + seen.answer
    json.dumps(seen.timings, allow_nan=False)


async def test_nothing_of_another_user_is_seen_or_changed(store: Conversations) -> None:
    turn = asked()
    await store.finish(ANN, answered(turn))
    conversation = turn.conversation_id
    assert await store.history(BOB, conversation) == []
    assert await store.list(BOB) == []
    assert await store.mentioning(BOB, ["Qdrant"]) == []
    assert list(await store.recent(BOB, conversation)) == []
    assert await store.page(BOB, conversation, after=0, limit=9) == []
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


async def test_turns_at_once_get_numbers_of_their_own(store: Conversations, any_database: Database) -> None:
    conversation = new_id()
    many = [asked(f"Question {number}?", conversation) for number in range(12)]
    await asyncio.gather(*(store.begin(ANN, turn) for turn in many))
    await asyncio.gather(*(store.finish(ANN, answered(turn)) for turn in many))
    async with any_database.read() as connection:
        numbers = (await connection.execute(select(turns.c.ordinal).order_by(turns.c.ordinal))).scalars().all()
    assert numbers == list(range(1, 13))
    assert len(await store.list(ANN)) == 1
    assert [turn.state for turn in await store.history(ANN, conversation)] == ["done"] * 12


async def test_only_a_turn_that_states_something_is_announced_to_be_learnt(
    rows: SqlConversations, any_database: Database
) -> None:
    stating = asked("I live in Oslo. Where is the office?")
    for turn in (asked("Where is the office?"), stating):
        await rows.begin(ANN, turn)
        await rows.finish(ANN, answered(turn))
    told = await Outbox(any_database).pending([TURNS_TOPIC], 0, 10)
    assert [row.payload for row in told] == [{"turn": stating.id}]


async def test_history_gives_the_last_turns_in_order(store: Conversations) -> None:
    conversation = new_id()
    for number in range(5):
        await store.finish(ANN, asked(f"{number}?", conversation))
    assert [turn.question for turn in await store.history(ANN, conversation, last=2)] == ["3?", "4?"]
    assert await store.history(ANN, conversation, last=0) == []
    assert await store.history(ANN, new_id()) == []


async def test_recent_are_the_last_answered_turns_as_they_are_kept(store: Conversations) -> None:
    conversation = new_id()
    for number in range(8):
        turn = asked(f"{number}?", conversation)
        await store.begin(ANN, turn)
        assert [one.question for one in await store.recent(ANN, conversation)] == [
            f"{back}?" for back in range(max(0, number - RECENT), number)
        ]
        await store.finish(ANN, answered(turn))
    await store.finish(ANN, replace(asked("failed?", conversation), state="failed"))
    everything = await store.history(ANN, conversation)
    assert list(await store.recent(ANN, conversation)) == everything[3:8]
    await store.feedback(ANN, everything[7].id, {"value": -1})
    assert [one.feedback for one in await store.recent(ANN, conversation)][-1] == {"value": -1}
    assert await store.page(ANN, conversation, after=2, limit=3) == everything[2:5]


async def test_deleting_tells_what_went(store: Conversations) -> None:
    turn = asked()
    await store.begin(ANN, turn)
    await store.finish(ANN, answered(asked(conversation=turn.conversation_id)))
    receipt = await store.delete(ANN, turn.conversation_id)
    assert (receipt.turns, receipt.archives, dict(receipt.further)) == (2, 0, {"facts": 0})
    assert list(await store.recent(ANN, turn.conversation_id)) == []


async def test_list_pages_newest_first_without_gaps(store: Conversations) -> None:
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


async def test_rename_and_delete(store: Conversations, any_database: Database) -> None:
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


async def test_turns_of_a_dead_process_are_marked_interrupted(rows: SqlConversations) -> None:
    store = rows
    left, done = asked(), asked()
    await store.begin(ANN, left)
    await store.finish(ANN, answered(done))
    assert await store.interrupt_running(begun_before=START) == 0
    assert await store.interrupt_running() == 1
    assert (await store.turn(ANN, left.id)).state == "interrupted"
    assert (await store.turn(ANN, done.id)).state == "done"
    await store.finish(ANN, answered(left))  # it was alive after all
    assert (await store.turn(ANN, left.id)).state == "done"


async def test_mentioning_finds_finished_turns_by_word(store: Conversations) -> None:
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


async def test_what_an_answer_was_made_from_is_kept_beside_it(rows: SqlConversations, any_database: Database) -> None:
    """Also by a conversation that repeats it, and of one that comes from a file."""
    first, second, third = asked("One?"), asked("Two?"), asked("Three?")
    await rows.finish(ANN, replace(first, state="done", drawn_on=("d1", "d2")))
    await rows.finish(ANN, replace(first, state="done", drawn_on=("d2",)))
    await rows.finish(ANN, replace(second, state="done", retold=(first.conversation_id,)))
    talk = replace(await rows.get(ANN, first.conversation_id), id=third.conversation_id)
    steps = ({"node": "retrieve", "detail": {"hits": [{"document_id": "d3"}, "?", {"document_id": "x" * 99}]}},)
    await rows.take_in(ANN, talk, [replace(third, state="done", citations=(CITATION,), steps=steps)])
    async with any_database.read() as connection:
        found = (await connection.execute(select(drawn_on.c.conversation_id, drawn_on.c.document_id))).all()
    kept = {(first.conversation_id, "d1"), (first.conversation_id, "d2"), (second.conversation_id, "d1")}
    kept |= {(second.conversation_id, "d2"), (third.conversation_id, "d"), (third.conversation_id, "d3")}
    assert {tuple(row) for row in found} == kept
    assert (await rows.turn(ANN, first.id)).drawn_on == ()
