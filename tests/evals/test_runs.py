"""A run asks every case once, keeps conversations in order, and survives whatever an assistant does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from aegis.errors import InvalidInput, NotFound, Unavailable
from evals.assistant import Answer, Cited
from evals.cases import Case
from evals.metrics import Observation
from evals.runs import Pace, run

TEXT = "The answer is 42."
ANSWER = Answer("The answer is 42. [1]", False, (Cited("d", 0, 17, TEXT, "a.md"),))


@dataclass
class Fake:
    """Answers from a script; counts how many ask at the same time."""

    answer: Answer = ANSWER
    asked: list[tuple[str, str | None]] = field(default_factory=list[tuple[str, str | None]])
    forgotten: list[str] = field(default_factory=list[str])
    busy: int = 0
    most: int = 0

    async def ask(self, question: str, conversation_id: str | None) -> Answer:
        self.asked.append((question, conversation_id))
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            await asyncio.sleep(60 if question == "hang" else 0.002)
        finally:
            self.busy -= 1
        if question == "fail":
            raise Unavailable("down")
        return replace(self.answer, conversation_id=conversation_id or f"new {question}")

    async def text(self, cited: Cited) -> str:
        if cited.document_id == "gone":
            raise NotFound("gone")
        return TEXT

    async def forget(self, conversation_id: str) -> None:
        self.forgotten.append(conversation_id)
        raise NotFound("forgotten already")


def _cases(*questions: str, conversation: str = "") -> list[Case]:
    return [Case(id=question, question=question, conversation=conversation) for question in questions]


async def test_every_case_is_asked_once_and_reported_in_order() -> None:
    fake = Fake()
    seen: list[Observation] = []
    report = await run(_cases(*"abcdefg"), fake, pace=Pace(parallel=3), seen=seen.append)
    assert [case.id for case in report.cases] == list("abcdefg")
    assert sorted(question for question, _ in fake.asked) == list("abcdefg")
    assert len(seen) == 7
    assert fake.most == 3
    assert report.summary()["answered"].mean == 1
    assert report.summary()["citations"].mean == 1


async def test_turns_of_a_conversation_follow_each_other_in_a_fresh_one_that_is_deleted() -> None:
    fake = Fake()
    await run([*_cases("one", "two", "three", conversation="saved"), *_cases("alone")], fake)
    in_conversation = [each for each in fake.asked if each[0] != "alone"]
    assert in_conversation == [("one", None), ("two", "new one"), ("three", "new one")]
    assert sorted(fake.forgotten) == ["new alone", "new one"]


async def test_a_failure_counts_against_its_case_only() -> None:
    report = await run(_cases("a", "fail", "hang", "b"), Fake(), pace=Pace(timeout=0.1))
    assert {case.id: case.error for case in report.cases} == {
        "a": None,
        "fail": "unavailable",
        "hang": "timeout",
        "b": None,
    }
    assert report.summary()["answered"].mean == 0.5
    assert report.summary()["seconds"].count == 2


@pytest.mark.parametrize(
    "cited",
    [
        Cited("d", 1, 17, TEXT),  # shifted
        Cited("d", 0, 17, "The answer is 43."),
        Cited("d", 0, 99, TEXT),  # past the end
        Cited("d", -17, 17, TEXT),
        Cited("d", 5, 5, ""),  # quotes nothing
        Cited("gone", 0, 17, TEXT),
    ],
)
async def test_a_quote_must_stand_at_its_span(cited: Cited) -> None:
    fake = Fake(Answer("42 [1]", False, (cited,)))
    report = await run(_cases("a"), fake)
    assert report.cases[0].scores["citations"] == 0


async def test_no_cases_is_an_error_and_not_a_perfect_run() -> None:
    with pytest.raises(InvalidInput):
        await run([], Fake())
