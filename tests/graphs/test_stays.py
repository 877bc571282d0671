"""What is asked again in the background leaves this machine no more than the conversation that it comes from."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from aegis.scope import Scope
from agents.generate import Generate
from agents.retrieve import WORDS_NOTE, Retrieve
from agents.state import Context, State
from graphs.afterwards import Afterwards
from memory.conversations import Turn
from memory.recalls import Queued
from memory.standing import StandingQuestion
from retrieval.search import Hit, SearchRequest
from tests.agents.passages import Documents, Run
from tests.agents.test_generate import Scripted

AT = datetime(2026, 1, 1, tzinfo=UTC)
QUESTION = StandingQuestion("s", "ada", "Who?", "hybrid", "t", "kept", "open", 0, (), AT, None, None)


class Told:
    """Stands for the catalogue and the conversations."""

    async def collections(self) -> frozenset[str]:
        return frozenset({"default"})

    async def turn(self, scope: Scope, turn_id: str) -> Turn:
        return Turn(turn_id, "kept", "Who?", answer="Ada.", standalone="Who leads?")


@pytest.mark.parametrize("kept", [True, False])
async def test_standing_questions_and_saved_answers(kept: bool) -> None:
    asked: list[Context] = []

    async def again(state: State, context: Context) -> State:
        asked.append(context)
        return state

    async def invoked(state: Any, *, context: Context) -> dict[str, Any]:
        asked.append(context)
        return {"answer": "Ada."}

    async def stays(scope: Scope, conversation_id: str) -> bool:
        assert (scope.user, conversation_id) == ("ada", "kept")
        return kept

    given: Any = dict.fromkeys(("database", "outbox", "cache", "standing", "recalls", "leases"))
    given |= {"catalogue": Told(), "conversations": Told(), "again": again, "busy": lambda: False}
    afterwards = Afterwards(**given, graph=SimpleNamespace(ainvoke=invoked), stays=stays)
    await afterwards._evidence(QUESTION, 1)  # pyright: ignore[reportPrivateUsage]  # its loop runs for ever
    await afterwards._difference(Queued("t", "ada"))  # pyright: ignore[reportPrivateUsage]  # the same
    assert [context.stays for context in asked] == [kept, kept]


async def test_then_the_search_is_marked_and_no_cloud_is_asked() -> None:
    requests: list[SearchRequest] = []

    class Searcher:
        async def search(self, scope: Scope, request: SearchRequest) -> list[Hit]:
            requests.append(request)
            return []

    async def may_leave(*_: Any, **__: Any) -> bool:
        return True

    documents = Documents({"One": "One text."})
    runtime = Run().runtime.override(context=Context(collections=("default",), stays=True))
    found = await Retrieve(Searcher())(documents.state("What?"), runtime)
    assert (requests[0].stays, found["notes"]) == (True, [WORDS_NOTE])
    writer = Scripted()
    await Generate(documents, writer, may_leave=may_leave)(documents.state("What?"), runtime)
    assert not writer.asked[0].shareable
