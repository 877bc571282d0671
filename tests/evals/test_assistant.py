"""The assistant over HTTP, against a small application of the documented shapes."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from aegis.errors import AegisError, InvalidInput, ModelFailed, NotFound, Unavailable
from evals.assistant import ApiAssistant, Cited
from evals.cases import Case, Saved
from evals.report import failures
from evals.runs import run

REPLY = {
    "answer": "abc [1]",
    "abstained": False,
    "citations": [
        {"marker": 1, "document_id": "d", "chunk_id": "c", "start": 0, "end": 3, "quote": "abc", "support": 1}
    ],
    "route": "retrieve",
    "conversation_id": "k",
    "turn_id": "t",
    "model": "extractive",
    "timings": {},
}


def _assistant(handler: Any) -> ApiAssistant:
    return ApiAssistant(httpx.AsyncClient(transport=httpx.MockTransport(handler), base_url="http://test"))


async def test_a_run_over_http_asks_checks_and_tidies_up() -> None:
    calls: list[str] = []

    def server(request: httpx.Request) -> httpx.Response:
        calls.append(f"{request.method} {request.url.path} {request.content.decode()}")
        if request.method == "POST":
            return httpx.Response(200, json=REPLY)
        return httpx.Response(204) if request.method == "DELETE" else httpx.Response(200, json={"text": "abcdef"})

    follow_up = [Case(id=each, question=each, conversation="x") for each in ("one", "two")]
    report = await run(follow_up, _assistant(server))
    assert report.summary()["citations"].mean == 1
    assert calls == [
        'POST /api/v1/chat {"question":"one","fresh":true}',
        "GET /api/v1/documents/d/text ",
        'POST /api/v1/chat {"question":"two","fresh":true,"conversation_id":"k"}',
        "GET /api/v1/documents/d/text ",
        "DELETE /api/v1/conversations/k ",
    ]


async def test_a_text_may_come_as_plain_text() -> None:
    assistant = _assistant(lambda _request: httpx.Response(200, text="abc"))  # pyright: ignore[reportUnknownLambdaType]
    assert await assistant.text(Cited("d", 0, 3, "abc")) == "abc"


@pytest.mark.parametrize(
    ("status", "kind"), [(404, NotFound), (400, InvalidInput), (500, Unavailable), (503, Unavailable)]
)
async def test_refusals_become_errors_of_ours(status: int, kind: type[AegisError]) -> None:
    assistant = _assistant(lambda _request: httpx.Response(status, text="no"))  # pyright: ignore[reportUnknownLambdaType]
    with pytest.raises(kind, match=str(status)):
        await assistant.ask("q", None)


@pytest.mark.parametrize("reply", [{}, {**REPLY, "citations": [{}]}, {**REPLY, "citations": None}, []])
async def test_a_reply_of_another_shape_is_an_error_and_not_an_answer(reply: Any) -> None:
    assistant = _assistant(lambda _request: httpx.Response(200, json=reply))  # pyright: ignore[reportUnknownLambdaType]
    with pytest.raises(ModelFailed):
        await assistant.ask("q", None)


async def test_json_that_is_none_is_an_error_and_an_empty_reply_is_none() -> None:
    kind = {"Content-Type": "application/json"}
    broken = _assistant(lambda _request: httpx.Response(200, text="{", headers=kind))  # pyright: ignore[reportUnknownLambdaType]
    with pytest.raises(ModelFailed, match="not JSON"):
        await broken.ask("q", None)
    silent = _assistant(lambda _request: httpx.Response(204, headers=kind))  # pyright: ignore[reportUnknownLambdaType]
    await silent.forget("k")


async def test_a_server_that_is_gone_is_unavailable() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(Unavailable):
        await _assistant(refuse).ask("q", None)


async def test_saved_conversations_are_read_page_by_page_and_kept_whole() -> None:
    def turn(conversation: str, number: int, state: str = "done") -> dict[str, Any]:
        return {
            **REPLY,
            "turn_id": f"{conversation}{number}",
            "conversation_id": conversation,
            "question": "q",
            "state": state,
        }

    pages = {
        "/api/v1/conversations?limit=100": {"conversations": [{"id": "a"}], "next": "more"},
        "/api/v1/conversations?limit=100&cursor=more": {"conversations": [{"id": "b"}], "next": None},
        "/api/v1/conversations/a?limit=100": {"turns": [turn("a", 1), turn("a", 2, "stopped")], "next": "1"},
        "/api/v1/conversations/a?limit=100&cursor=1": {"turns": [turn("a", 3)], "next": None},
        "/api/v1/conversations/b?limit=100": {"turns": [turn("b", 1), turn("b", 2)], "next": None},
    }

    def server(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=pages[request.url.raw_path.decode()])

    found = await _assistant(server).saved()
    assert [case.id for case in found] == ["a1", "a3", "b1", "b2"]
    assert found[0].saved is not None
    assert found[0].saved.documents == {"d"}
    assert [case.id for case in await _assistant(server).saved(limit=3)] == ["a1", "a3"]


async def test_answers_are_judged_by_what_they_quote_and_what_was_saved() -> None:
    bodies: list[Any] = []

    def server(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/v1/models/judge":
            bodies.append(json.loads(request.content))
            grade = None if bodies[-1]["question"] == "unclear" else 0.5
            return httpx.Response(200, json={"grade": grade, "says": "a part is missing", "model": "m"})
        if request.method == "POST":
            return httpx.Response(200, json=REPLY)
        return httpx.Response(204) if request.method == "DELETE" else httpx.Response(200, json={"text": "abcdef"})

    saved = Saved(answer="abc", documents=frozenset("d"))
    asked = [Case(id="one", question="one", saved=saved), Case(id="unclear", question="unclear")]
    cases = [*asked, Case(id="off", question="off", abstain=True)]
    assistant = _assistant(server)
    report = await run(cases, assistant, judge=assistant)
    assert bodies[1:] == [
        {"question": "one", "answer": "abc [1]", "evidence": ["abc"], "reference": "abc"},
        {"question": "unclear", "answer": "abc [1]", "evidence": ["abc"], "reference": ""},
    ]
    assert report.summary()["judged"].mean == 0.5
    assert report.summary()["judged"].count == 1
    shown = failures(report)
    assert shown is not None
    assert "judged 0.5: a part is missing (m)" in str(list(shown.columns[2].cells))


async def test_a_run_without_its_judge_ends_before_anything_is_asked() -> None:
    calls: list[str] = []

    def server(request: httpx.Request) -> httpx.Response:
        calls.append(request.url.path)
        return httpx.Response(503, json={"error": {"message": "No model."}})

    assistant = _assistant(server)
    with pytest.raises(Unavailable):
        await run([Case(id="one", question="one")], assistant, judge=assistant)
    assert calls == ["/api/v1/models/judge"]
