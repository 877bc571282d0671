"""Chainlit's data layer on the real conversation store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
from chainlit.types import Feedback, Pagination, ThreadFilter

from aegis.database import Database
from aegis.errors import InvalidInput, NotFound
from aegis.scope import Scope, new_id
from memory.conversations import Turn
from memory.conversations.store import SqlConversations
from memory.recalls import AnswerRecalls
from tests.ui.viewing import LOCAL, OTHER, Clock, Viewer, citation, store
from ui.history import History


@pytest.fixture
def kept(database: Database) -> SqlConversations:
    return store(database)


@pytest.fixture
def viewer(kept: SqlConversations, database: Database) -> Viewer:
    return Viewer(conversations=kept, recalls=AnswerRecalls(database, Clock()))


async def told(kept: SqlConversations, question: str, scope: Scope = LOCAL, **more: Any) -> Turn:
    values: dict[str, Any] = {"state": "done", "answer": "Yes. [1]", **more}
    turn = Turn(new_id(), new_id(), question, **values)
    await kept.finish(scope, turn)
    return turn


async def listed(viewer: Viewer, first: int = 35, cursor: str | None = None, search: str | None = None) -> Any:
    asked = Pagination(first=first, cursor=cursor), ThreadFilter(search=search, userId="somebody else entirely")
    return await viewer(History().list_threads(*asked))


async def test_threads_are_this_viewers_conversations_newest_first(kept: SqlConversations, viewer: Viewer) -> None:
    for question in ("First?", "Second?"):
        await told(kept, question)
    await told(kept, "Not yours", OTHER)
    found = await listed(viewer)
    assert [thread["name"] for thread in found.data] == ["Second?", "First?"]
    assert {thread["userIdentifier"] for thread in found.data} == {"local"}
    assert not found.pageInfo.hasNextPage


async def test_pages_follow_one_another(kept: SqlConversations, viewer: Viewer) -> None:
    for number in range(5):
        await told(kept, f"Question {number}")
    names, cursor = list[str](), None
    while True:
        found = await listed(viewer, first=2, cursor=cursor)
        names += [thread["name"] for thread in found.data]
        cursor = found.pageInfo.endCursor
        if not found.pageInfo.hasNextPage:
            break
    assert names == [f"Question {number}" for number in (4, 3, 2, 1, 0)]


@pytest.mark.parametrize("words", ["zebra", "ZEBRA", "stripes", "100%"])
async def test_search_looks_in_titles_questions_and_answers(kept: SqlConversations, viewer: Viewer, words: str) -> None:
    await told(kept, "What is a zebra, 100% exactly?", answer="It has stripes.")
    await told(kept, "What is a horse, 1000 of them?", answer="It has none.")
    found = await listed(viewer, search=words)
    assert [thread["name"] for thread in found.data] == ["What is a zebra, 100% exactly?"]


async def test_a_thread_has_question_steps_and_answer_parents_first(kept: SqlConversations, viewer: Viewer) -> None:
    steps = ({"node": "retrieve", "summary": "8 passages found", "took_ms": 3.0, "detail": {}},)
    turn = await told(kept, "Is it?", steps=steps, citations=(citation(1, 5, "It is."), citation(1, 20, "Truly.")))
    thread = cast(Any, await viewer(History().get_thread(turn.conversation_id)))
    known = {None}
    for step in thread["steps"]:
        assert step["parentId"] in known
        known.add(step["id"])
    assert [step["type"] for step in thread["steps"]] == ["user_message", "run", "tool", "tool", "assistant_message"]
    assert thread["steps"][1]["id"] == turn.id  # what feedback names
    assert thread["steps"][3]["name"] == "Search: 8 passages found · 3 ms"
    assert f"(#cite-{turn.id}-1)" in thread["steps"][-1]["output"]
    (element,) = thread["elements"]
    assert element["forId"] == thread["steps"][-1]["id"]
    (source,) = element["props"]["citations"]
    assert [span["quote"] for span in source["spans"]] == ["It is.", "Truly."]
    assert source["title"] == "<b>Title</b>"  # shown as text by the element


async def test_a_turn_under_way_is_named_and_ends_after_its_run(kept: SqlConversations, viewer: Viewer) -> None:
    turn = Turn(new_id(), new_id(), "Still?")
    await kept.begin(LOCAL, turn)
    thread = cast(Any, await viewer(History().get_thread(turn.conversation_id)))
    assert thread["metadata"]["running"] == [turn.id]
    assert [step["type"] for step in thread["steps"]] == ["user_message", "run"]
    assert thread["steps"][1]["end"] is None


ENDS = [("stopped", "Stopped"), ("interrupted", "was stopped"), ("failed", "failed")]


@pytest.mark.parametrize(("state", "words"), ENDS)
async def test_how_a_turn_ended_is_said(kept: SqlConversations, viewer: Viewer, state: Any, words: str) -> None:
    half = await told(kept, "Half?", state=state, answer="Half an")
    thread = cast(Any, await viewer(History().get_thread(half.conversation_id)))
    assert words in thread["elements"][0]["props"]["notes"][-1]
    none = await told(kept, "None?", state=state, answer="")
    thread = cast(Any, await viewer(History().get_thread(none.conversation_id)))
    assert words in thread["steps"][-1]["output"]


async def test_another_users_thread_is_not_there(kept: SqlConversations, viewer: Viewer) -> None:
    turn = await told(kept, "Mine?", OTHER)
    layer = History()
    assert await viewer(layer.get_thread(turn.conversation_id)) is None
    assert await viewer(layer.get_thread_author(turn.conversation_id)) == ""
    with pytest.raises(NotFound):
        await viewer(layer.delete_thread(turn.conversation_id))
    with pytest.raises(NotFound):
        await viewer(layer.update_thread(turn.conversation_id, name="Taken"))
    with pytest.raises(NotFound):
        await viewer(layer.upsert_feedback(Feedback(forId=turn.id, value=1)))
    assert (await kept.get(OTHER, turn.conversation_id)).title == "Mine?"


async def test_only_a_reader_renames(kept: SqlConversations, viewer: Viewer) -> None:
    turn, layer = await told(kept, "Old name"), History()
    assert await viewer(layer.get_thread_author(turn.conversation_id)) == "local"
    await viewer(layer.update_thread(turn.conversation_id, name="What was typed", user_id="local"))  # Chainlit itself
    await viewer(layer.update_thread(turn.conversation_id, metadata={"chat_settings": {}}))
    assert (await kept.get(LOCAL, turn.conversation_id)).title == "Old name"
    await viewer(layer.update_thread(turn.conversation_id, name="New name"))
    assert (await kept.get(LOCAL, turn.conversation_id)).title == "New name"


async def test_deleting_stops_what_runs_first(kept: SqlConversations, viewer: Viewer) -> None:
    turn = Turn(new_id(), new_id(), "Running?")
    await kept.begin(LOCAL, turn)

    class Run:
        async def stop(self) -> None:
            del viewer.answering.runs[turn.conversation_id]
            await kept.finish(LOCAL, replace(turn, state="stopped"))

    viewer.answering.runs[turn.conversation_id] = Run()
    await viewer(History().delete_thread(turn.conversation_id))
    assert await kept.history(LOCAL, turn.conversation_id) == []
    assert viewer.answering.runs == {}


async def test_feedback_goes_to_the_turn_and_comes_back(kept: SqlConversations, viewer: Viewer) -> None:
    turn, layer = await told(kept, "Good?"), History()
    identifier = await viewer(layer.upsert_feedback(Feedback(forId=turn.id, value=0, comment="No.")))
    assert (await kept.turn(LOCAL, turn.id)).feedback == {"value": -1, "comment": "No."}
    run = cast(Any, await viewer(layer.get_thread(turn.conversation_id)))["steps"][1]
    assert run["feedback"] == {"id": identifier, "forId": turn.id, "value": 0, "comment": "No."}
    assert await viewer(layer.delete_feedback(identifier))
    assert (await kept.turn(LOCAL, turn.id)).feedback is None


async def test_a_bad_cursor_is_refused(viewer: Viewer) -> None:
    with pytest.raises(InvalidInput):
        await listed(viewer, cursor="nonsense")
