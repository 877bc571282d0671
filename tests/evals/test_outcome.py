"""From cases to exit code, and back again as the run to compare with."""

from __future__ import annotations

import io
import json
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from aegis.errors import InvalidInput
from evals.assistant import Answer, ApiAssistant, Cited
from evals.cases import Case
from evals.outcome import choose_cases, evaluate
from evals.report import read_report, threshold


class Knows:
    """Knows the answer to some questions and says the same to all others."""

    def __init__(self, known: range) -> None:
        self._known = known

    async def ask(self, question: str, conversation_id: str | None) -> Answer:
        text = "yes" if int(question) in self._known else "perhaps"
        return Answer(f"{text} [1]", False, (Cited("d", 0, len(text), text),))

    async def text(self, cited: Cited) -> str:
        return cited.quote

    async def forget(self, conversation_id: str) -> None:
        raise AssertionError("there is no conversation to forget")


CASES = [Case(id=str(number), question=str(number), expect=(("yes",),)) for number in range(20)]


async def test_a_better_run_is_told_from_a_worse_one_by_what_the_first_one_saved(tmp_path: Path) -> None:
    first = await evaluate(CASES, Knows(range(8)), thresholds=[threshold("expected>=0.9"), threshold("citations>=1")])
    assert [str(each) for each in first.missed] == ["expected>=0.9"]
    assert first.exit_code == 1

    saved = tmp_path / "first.json"
    saved.write_text(json.dumps(first.as_dict()))
    second = await evaluate(
        CASES, Knows(range(19)), thresholds=[threshold("expected>=0.9")], against=read_report(saved)
    )
    assert second.exit_code == 0
    assert {each.metric: each.verdict for each in second.differences}["expected"] == "better"
    assert second.as_dict()["comparison"]["expected"]["count"] == 20


async def test_what_is_shown_names_the_failures_and_the_missed_threshold() -> None:
    outcome = await evaluate(CASES, Knows(range(19)), thresholds=[threshold("expected>=1")])
    console = Console(file=io.StringIO(), width=120)
    outcome.show(console)
    text = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]  # the StringIO above
    assert "0.950" in text
    assert "expected words missing" in text
    assert "Threshold missed: expected>=1" in text


async def test_cases_come_from_the_samples_a_file_or_the_store(tmp_path: Path) -> None:
    empty = httpx.MockTransport(lambda _request: httpx.Response(200, json={"conversations": [], "next": None}))
    async with httpx.AsyncClient(transport=empty, base_url="http://test") as client:
        assistant = ApiAssistant(client)
        shipped = await choose_cases("samples", assistant)
        assert len(shipped) > 120
        assert any(case.abstain for case in shipped)
        file = tmp_path / "mine.jsonl"
        file.write_text('{"id": "a", "question": "q"}')
        assert [case.id for case in await choose_cases(str(file), assistant)] == ["a"]
        with pytest.raises(InvalidInput, match="saved yet"):
            await choose_cases("saved", assistant)
