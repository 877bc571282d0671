"""A run's events as the page gets them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from aegis.errors import Unavailable
from aegis.scope import new_id
from agents.state import Context
from graphs.run import Run
from memory.conversations import Turn
from tests.ui.viewing import citation
from ui import render
from ui.following import Following


class Emitter:
    """What was sent, in order; `shown` is the page's state: the newest of each id."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []
        self.shown: dict[str, Any] = {}

    async def send_step(self, step_dict: Any) -> None:
        self._take("step", step_dict)

    async def stream_start(self, step_dict: Any) -> None:
        self._take("stream", step_dict)

    async def send_token(self, id: str, token: str, is_sequence: bool = False) -> None:
        assert is_sequence
        self._take("text", {**self.shown[id], "output": token})

    async def send_element(self, element_dict: Any) -> None:
        self._take("element", element_dict)

    def _take(self, kind: str, shown: Any) -> None:
        self.sent.append((kind, shown))
        self.shown[shown["id"]] = shown

    def of(self, kind: str) -> list[Any]:
        return [shown for shown in self.shown.values() if shown["type"] == kind]


def begun() -> Run:
    return Run(Turn(new_id(), new_id(), "Why?"), Context())


def step(run: Run, node: str, state: str) -> None:
    over = state == "end"
    run.publish(
        "step", node=node, state=state, summary="Done" if over else "", took_ms=2.0 if over else None, detail={}
    )


def finish(run: Run, answer: str, **more: Any) -> None:
    values: dict[str, Any] = {"state": "done", "answer": answer, **more}
    run.turn = replace(run.turn, **values)
    run.publish("done", answer=answer)
    run.end()


def follow(run: Run, emitter: Emitter, *, by_model: bool = False) -> asyncio.Task[None]:
    frame = render.Frame(run.turn_id, run.conversation_id, "question", render.moment(None))
    return asyncio.create_task(Following(emitter, run, frame, by_model=by_model).show())


async def test_steps_open_while_they_run_and_fold_when_they_are_over() -> None:
    run, emitter = begun(), Emitter()
    task = follow(run, emitter)
    step(run, "retrieve", "start")
    await asyncio.sleep(0.01)
    trail, searching = emitter.of("tool")
    assert trail["defaultOpen"]
    assert searching["end"] is None
    assert searching["parentId"] == trail["id"]
    step(run, "retrieve", "end")
    finish(run, "So.")
    await task
    trail, searched = emitter.of("tool")
    assert not trail["defaultOpen"]
    assert searched["name"] == "Search: Done · 2 ms"
    assert emitter.of("run")[0]["end"] is not None


async def test_a_node_that_runs_twice_is_shown_twice() -> None:
    run, emitter = begun(), Emitter()
    for _ in range(2):
        step(run, "retrieve", "start")
        step(run, "retrieve", "end")
    finish(run, "So.")
    await follow(run, emitter)
    assert [shown["name"] for shown in emitter.of("tool")][1:] == ["Search: Done · 2 ms"] * 2


async def test_text_comes_as_it_is_written_and_is_safe_all_along() -> None:
    run, emitter = begun(), Emitter()
    task = follow(run, emitter, by_model=True)
    for text in ("See ![x](http://evil", ".example/p.png)", " there [1]."):
        run.publish("token", text=text)
        await asyncio.sleep(0.08)
    texts = [shown["output"] for kind, shown in emitter.sent if kind in ("stream", "text")]
    assert len(texts) == 3
    assert all("](http" not in text for text in texts)
    finish(run, "See there [1].", model="llama")
    await task
    (answer,) = emitter.of("assistant_message")
    assert answer["output"] == f"See there [1](#cite-{run.turn_id}-1)."
    assert not answer["streaming"]


async def test_many_tokens_at_once_are_sent_together() -> None:
    run, emitter = begun(), Emitter()
    for _ in range(500):
        run.publish("token", text="word ")
    finish(run, "word " * 500)
    await follow(run, emitter)
    assert len(emitter.sent) < 6
    assert emitter.of("assistant_message")[0]["output"].count("word") == 500


async def test_an_answer_that_was_taken_back_replaces_what_was_streamed() -> None:
    run, emitter = begun(), Emitter()
    run.publish("token", text="Something nobody wrote.")
    finish(run, "The documents do not say.", abstained=True, notes=("The answer was withheld.",))
    await follow(run, emitter)
    assert "nobody" not in emitter.of("assistant_message")[0]["output"]
    assert emitter.of("custom")[0]["props"]["notes"] == ["The answer was withheld."]


async def test_a_failed_run_says_why_and_no_step_is_left_running() -> None:
    run, emitter = begun(), Emitter()
    step(run, "generate", "start")
    run.publish("token", text="Half")
    run.error = Unavailable("The model went away.")
    run.turn = replace(run.turn, state="failed")
    run.end()
    await follow(run, emitter)
    (answer,) = emitter.of("assistant_message")
    assert answer["isError"]
    assert "The model went away" in answer["output"]
    assert all(shown["end"] for shown in emitter.of("tool"))


async def test_stopped_in_mid_answer_keeps_the_text_and_says_so() -> None:
    run, emitter = begun(), Emitter()
    run.publish("token", text="Half an")
    finish(run, "Half an", state="stopped")
    await follow(run, emitter)
    assert emitter.of("assistant_message")[0]["output"] == "Half an"
    assert "Stopped" in emitter.of("custom")[0]["props"]["notes"][0]


async def test_who_joins_late_sees_the_same() -> None:
    run, early, late = begun(), Emitter(), Emitter()
    first = follow(run, early)
    step(run, "retrieve", "start")
    await asyncio.sleep(0.01)
    step(run, "retrieve", "end")
    run.publish("followups", questions=["And then?"])
    finish(run, "So. [1]", citations=(citation(1, 0, "So."),))
    await first
    await follow(run, late)
    ignored = ("createdAt", "start", "end")
    assert [_without(shown, ignored) for shown in early.shown.values()] == [
        _without(shown, ignored) for shown in late.shown.values()
    ]
    assert late.of("custom")[0]["props"]["followups"] == ["And then?"]


@pytest.mark.parametrize("hostile", ["</script><b>x", "[a](http://evil.example)", "![p](http://evil.example/p)"])
async def test_what_steps_found_is_shown_as_text(hostile: str) -> None:
    hit = {"chunk_id": "c", "document_id": "d", "title": hostile, "score": 0.5, "via": [hostile]}
    frame = render.Frame(new_id(), new_id(), "q", render.moment(None))
    shown = render.node(
        frame, 0, {"node": "retrieve", "summary": "", "took_ms": 1, "detail": {"hits": [hit]}}, over=True
    )
    assert "](http" not in shown["output"]
    assert "<b>" not in shown["output"]


def _without(shown: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in cast(dict[str, Any], shown).items() if key not in names}
