"""Chat as JSON and as events, and joining a turn again. Conversations are the real ones, on SQLite."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from aegis.database import Database
from aegis.errors import AegisError, ModelFailed, ModelUnavailable
from aegis.scope import Scope
from api.chat import EVENTS
from api.schemas.chat import ChatAnswer
from api.schemas.conversations import ConversationsAnswer, ConversationWithTurns, ReceiptAnswer
from memory.conversations import Citation, Turn, told
from memory.conversations.store import SqlConversations
from tests.api.conftest import Open

CHAT = "/api/v1/chat"
CONVERSATIONS = "/api/v1/conversations"
LOCAL = Scope("local")
CITATION = Citation(1, "d1", "v1", "c1", "upload:a.md", "A", 3, 9, "a quote", 0.9)
TURN = Turn(
    "t1",
    "k1",
    "What is it?",
    "done",
    "It is a shield [1].",
    standalone="What is Aegis?",
    route="retrieve",
    citations=(CITATION,),
    chunk_ids=("c1",),
    model="extractive",
    timings={"retrieve": 3.5},
    steps=({"node": "retrieve", "summary": "3 passages"},),
    notes=("No model is configured.",),
)


@dataclass
class FakeEvent:
    kind: str
    data: Mapping[str, Any]


def written(turn: Turn) -> list[FakeEvent]:
    citations = told(turn)["citations"]
    return [
        FakeEvent("metadata", {"conversation_id": turn.conversation_id, "turn_id": turn.id}),
        FakeEvent("step", {"node": "route", "state": "end", "summary": "retrieve", "took_ms": 1.0, "detail": None}),
        FakeEvent("token", {"text": "It is "}),
        FakeEvent("token", {"text": "a shield\n[1]."}),
        FakeEvent("citations", {"citations": citations}),
        FakeEvent("followups", {"questions": ["And then?"]}),
        FakeEvent("done", told(turn)),
    ]


@dataclass
class FakeRun:
    turn: Turn = TURN
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: bool = False
    error: AegisError | None = None

    @property
    def turn_id(self) -> str:
        return self.turn.id

    @property
    def conversation_id(self) -> str:
        return self.turn.conversation_id

    async def events(self) -> AsyncIterator[FakeEvent]:
        first, *rest = written(self.turn)
        yield first
        await self.gate.wait()
        if self.error:
            raise self.error
        for event in rest:
            yield event

    async def result(self) -> Turn:
        await self.gate.wait()
        return self.turn

    async def stop(self) -> None:
        self.stopped = True
        self.gate.set()


class FakeAnswering:
    def __init__(self, run: FakeRun, *, open_gate: bool = True) -> None:
        self.run = run
        self.asked: list[dict[str, Any]] = []
        if open_gate:
            run.gate.set()

    async def ask(self, scope: Scope, question: str, **given: Any) -> FakeRun:
        self.asked.append({"question": question, **given})
        return self.run

    def running(self, scope: Scope, conversation_id: str) -> FakeRun | None:
        return self.run if conversation_id == self.run.conversation_id and scope.user == "local" else None


def events_of(body: str) -> list[tuple[str, str, Any]]:
    """(id, event, data) of each block; comments are passed over."""
    blocks = [block for block in body.split("\n\n") if block and not block.startswith(":")]
    found: list[tuple[str, str, Any]] = []
    for block in blocks:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields.get("id", ""), fields["event"], json.loads(fields["data"])))
    return found


async def test_chat_as_json(client_of: Open) -> None:
    answering = FakeAnswering(FakeRun())
    client = await client_of(answering=answering)
    body = {"question": "What is it?", "conversation_id": "k1", "mode": "graph", "known_at": 4, "as_of": "2024-01-01"}
    response = await client.post(CHAT, json=body | {"filters": {"tag": ["x"]}})
    assert response.status_code == 200
    assert ChatAnswer.model_validate_json(response.content).model_dump(mode="json") == response.json()
    assert response.json()["citations"][0]["quote"] == "a quote"
    assert answering.asked == [
        {
            "question": "What is it?",
            "conversation_id": "k1",
            "mode": "graph",
            "top_k": None,
            "as_of": datetime(2024, 1, 1, tzinfo=UTC),
            "known_at": 4,
            "filters": {"tag": ["x"]},
            "fresh": False,
            "agreed": False,
        }
    ]


async def test_an_answer_that_failed_is_an_error_not_a_text(client_of: Open) -> None:
    run = FakeRun(replace(TURN, state="failed", answer="partly"), error=ModelFailed("The model babbles."))
    client = await client_of(answering=FakeAnswering(run))
    response = await client.post(CHAT, json={"question": "q"})
    assert (response.status_code, response.json()["error"]["code"]) == (502, "model_failed")
    assert "partly" not in response.text


@pytest.mark.parametrize("path", [CHAT, f"{CHAT}/stream"])
async def test_hostile_questions(client_of: Open, path: str) -> None:
    answering = FakeAnswering(FakeRun())
    client = await client_of(answering=answering)
    for question, status in (("", 422), ("x" * 50_000, 413), ("\0", 422), (["q"], 422), (None, 422)):
        response = await client.post(path, json={"question": question})
        assert response.status_code == status
        assert len(response.content) < 1000
    assert answering.asked == []


async def test_chat_as_events(client_of: Open) -> None:
    client = await client_of(answering=FakeAnswering(FakeRun()))
    response = await client.post(f"{CHAT}/stream", json={"question": "q"})
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    events = events_of(response.text)
    assert [name for _, name, _ in events] == [
        "metadata", "step", "token", "token", "citations", "followups", "done",
    ]  # fmt: skip
    for number, (identifier, name, data) in enumerate(events, 1):
        assert identifier == f"t1.{number}"
        assert EVENTS[name].model_validate(data).model_dump(mode="json") == data


async def test_an_error_in_mid_answer_is_an_event(client_of: Open) -> None:
    run = FakeRun(error=ModelUnavailable("The model went away."))
    client = await client_of(answering=FakeAnswering(run))
    response = await client.post(f"{CHAT}/stream", json={"question": "q"})
    _, name, data = events_of(response.text)[-1]
    assert (name, data) == ("error", {"code": "model_unavailable", "message": "The model went away."})


async def test_joining_again(client_of: Open) -> None:
    client = await client_of(answering=FakeAnswering(FakeRun()))
    path = f"{CONVERSATIONS}/k1/running"
    whole = events_of((await client.get(path)).text)
    rest = events_of((await client.get(path, headers={"Last-Event-ID": "t1.3"})).text)
    assert rest == whole[3:]
    for other in ("t0.3", "t1.x", "t1.-3", "3"):
        assert len(events_of((await client.get(path, headers={"Last-Event-ID": other})).text)) == len(whole)
    missing = await client.get(f"{CONVERSATIONS}/k2/running")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")


async def test_stopping(client_of: Open) -> None:
    run = FakeRun()
    client = await client_of(answering=FakeAnswering(run, open_gate=False))
    assert (await client.delete(f"{CONVERSATIONS}/k1/running")).status_code == 204
    assert run.stopped
    assert (await client.delete(f"{CONVERSATIONS}/k2/running")).status_code == 404


@pytest.fixture
async def kept(database: Database) -> SqlConversations:
    conversations = SqlConversations(database, clock=lambda: datetime.now(UTC))
    for number in range(3):
        await conversations.finish(LOCAL, replace(TURN, id=f"t{number}", question=f"Question {number}?"))
    await conversations.finish(LOCAL, replace(TURN, id="t9", conversation_id="k2"))
    await conversations.finish(Scope("other"), replace(TURN, id="x9", conversation_id="theirs"))
    return conversations


async def pages(client: httpx.AsyncClient, path: str, key: str, limit: int) -> list[Any]:
    found: list[Any] = []
    cursor: str | None = None
    while True:
        params: dict[str, Any] = {"limit": limit, **({"cursor": cursor} if cursor else {})}
        page = (await client.get(path, params=params)).json()
        assert len(page[key]) <= limit
        found += page[key]
        cursor = page["next"]
        if cursor is None:
            return found


async def test_history(client_of: Open, kept: SqlConversations) -> None:
    client = await client_of(conversations=kept, answering=FakeAnswering(FakeRun()))
    listed = await client.get(CONVERSATIONS)
    assert ConversationsAnswer.model_validate_json(listed.content).model_dump(mode="json") == listed.json()
    assert {one["id"] for one in listed.json()["conversations"]} == {"k1", "k2"}
    assert await pages(client, CONVERSATIONS, "conversations", 1) == listed.json()["conversations"]
    one = await client.get(f"{CONVERSATIONS}/k1")
    answer = ConversationWithTurns.model_validate_json(one.content)
    assert [turn.question for turn in answer.turns] == ["Question 0?", "Question 1?", "Question 2?"]
    assert answer.turns[0].citations[0].quote == "a quote"
    assert await pages(client, f"{CONVERSATIONS}/k1", "turns", 2) == one.json()["turns"]


async def test_another_users_conversation_is_not_there(client_of: Open, kept: SqlConversations) -> None:
    client = await client_of(conversations=kept, answering=FakeAnswering(FakeRun()))
    path = f"{CONVERSATIONS}/theirs"
    answers = [await client.get(path), await client.patch(path, json={"title": "x"}), await client.delete(path)]
    answers.append(await client.post("/api/v1/feedback", json={"turn_id": "x9", "value": 1}))
    assert [answer.status_code for answer in answers] == [404] * 4
    assert (await kept.get(Scope("other"), "theirs")).title


async def test_renaming_and_erasing(client_of: Open, kept: SqlConversations) -> None:
    run = FakeRun()
    client = await client_of(conversations=kept, answering=FakeAnswering(run, open_gate=False))
    renamed = await client.patch(f"{CONVERSATIONS}/k1", json={"title": "Shields"})
    assert renamed.json()["title"] == "Shields"
    assert (await client.patch(f"{CONVERSATIONS}/k1", json={"title": " "})).status_code == 422
    receipt = await client.delete(f"{CONVERSATIONS}/k1")
    assert ReceiptAnswer.model_validate_json(receipt.content).turns == 3
    assert run.stopped
    assert (await client.get(f"{CONVERSATIONS}/k1")).status_code == 404


async def test_feedback(client_of: Open, kept: SqlConversations) -> None:
    client = await client_of(conversations=kept)
    url = "/api/v1/feedback"
    assert (await client.post(url, json={"turn_id": "t1", "value": -1, "comment": "No."})).status_code == 204
    assert (await kept.turn(LOCAL, "t1")).feedback == {"value": -1, "comment": "No."}
    assert (await client.post(url, json={"turn_id": "t1", "value": 0})).status_code == 204
    assert (await kept.turn(LOCAL, "t1")).feedback is None
    assert (await client.post(url, json={"turn_id": "t1", "value": 2})).status_code == 422
    assert (await client.post(url, json={"turn_id": "nope", "value": 1})).status_code == 404


async def test_a_cursor_that_is_none(client_of: Open, kept: SqlConversations) -> None:
    client = await client_of(conversations=kept)
    for cursor in ("nonsense", "x:y", "99999999999999999999999:a", "a b", "'; --"):
        assert (await client.get(CONVERSATIONS, params={"cursor": cursor})).status_code == 422
