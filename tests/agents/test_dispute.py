"""Which messages say that an answer is wrong. Labelled by hand in `disputes.jsonl`: five languages, and as many
messages that only resemble them, questions above all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.dispute import LONGEST, disputes
from agents.route import Router, classify
from agents.state import State
from tests.agents.passages import Run
from tests.datasets import dataset

LABELLED = [json.loads(line) for line in (Path(__file__).parent / "disputes.jsonl").read_text("utf-8").splitlines()]


def test_the_labelled_messages() -> None:
    said = [row["message"] for row in LABELLED if row["disputes"]]
    others = [row["message"] for row in LABELLED if not row["disputes"]]
    assert min(len(set(said)), len(set(others))) >= 90
    assert [message for message in said if not disputes(message)] == []
    assert [message for message in others if disputes(message)] == []


@pytest.mark.parametrize("name", ["questions", "varied", "held_out", "unseen"])
def test_no_labelled_question_is_taken_for_one(name: str) -> None:
    lines = (Path(__file__).parent / f"routing_{name}.jsonl").read_text("utf-8").splitlines()
    assert [question for line in lines if disputes(question := json.loads(line)["question"])] == []


@pytest.mark.parametrize("name", ["2wiki_101", "musique_train100", "mtragun_pool", "scifact", "locomo"])
def test_no_question_of_public_sets_is_taken_for_one(name: str) -> None:
    """Without their question marks, too, as people write."""
    lines = (dataset(name) / "queries.jsonl").read_text("utf-8").splitlines()
    asked = [str(json.loads(line)["text"]).rstrip("?. ") for line in lines]
    assert [question for question in asked if disputes(question)] == []


def test_what_asks_or_says_more_is_none() -> None:
    assert not disputes("That is wrong?")
    assert not disputes("That is wrong. " + "x" * LONGEST)
    assert not disputes("")


@pytest.mark.parametrize("told", [[], [{"fact_id": "f", "text": "I live in Bern.", "chunk_id": "", "score": 1.0}]])
async def test_it_goes_before_everything_else(told: list[object]) -> None:
    message = "That's wrong, I live in Basel."
    assert classify(message) == "dispute"
    state: State = {"question": message, "standalone": message, "facts": told}  # type: ignore[typeddict-item]
    assert await Router()(state, Run().runtime) == {"route": "dispute"}
