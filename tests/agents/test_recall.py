"""Turns that a question about conversations means, and small talk."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agents.converse import ABOUT, reply
from agents.recall import ranked, told
from agents.state import Recalled
from memory.conversations import Turn


def turn(identifier: str, question: str, answer: str = "Noted.", route: str = "retrieve") -> Turn:
    return Turn(identifier, "c", question, "done", answer, route=route)


def recalled(question: str, answer: str = "The answer.", sources: tuple[str, ...] = ()) -> Recalled:
    when = datetime(2026, 3, 1, tzinfo=UTC).isoformat()
    return Recalled(
        turn_id="t", conversation_id="c", question=question, answer=answer, when=when, sources=list(sources)
    )


def test_what_the_person_said_of_themselves_comes_first() -> None:
    turns = [
        turn("asked", "What is the name of the rack?", "Its name is Row 7."),
        turn("said", "My name is Ann."),
        turn("again", "What is my name?", route="recall"),
        turn("other", "How big is the rack?"),
    ]
    assert [found.id for found in ranked(turns, ["name"])] == ["said", "asked"]


def test_tellings_are_word_for_word() -> None:
    assert told("what was my first question?", [recalled("Which port?")]) == "You asked: “Which port?”"
    assert "The answer." in told("repeat your previous answer", [recalled("Which port?")])
    assert "- Manual" in told(
        "which documents did you cite in your last answer?", [recalled("Q?", sources=("Manual",))]
    )
    assert "2026-03-01" in told("what did i tell you about my dog?", [recalled("My dog is Bello.")])


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("Hello!", "Hello"),
        ("thanks a lot", "welcome"),
        ("bye", "Goodbye"),
        ("Who are you?", ABOUT),
        ("That was not helpful at all.", "sorry"),
        ("ok", "All right"),
        ("👍", "All right"),
        ("Tell me a joke.", "not something I can do"),
    ],
)
def test_small_talk_has_a_fitting_sentence(message: str, says: str) -> None:
    assert says in reply(message)
