"""What a person states, and above all what they do not."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.statements import MAX_STATEMENTS, statements

SAID = datetime(2024, 5, 8, 14, tzinfo=UTC)
HERE = Path(__file__).parent


def told(message: str) -> list[tuple[str, str, str]]:
    found = statements(message, SAID)
    for one in found:
        assert message[one.start : one.end] == one.quote
    return [(one.relation.subject, one.relation.name, one.relation.object) for one in found]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("I live in Berlin.", ("You", "LIVES_IN", "Berlin")),
        ("Thanks! By the way, I'm working at Globex now as a nurse.", ("You", "WORKS_FOR", "Globex")),
        ("My favorite color is blue.", ("You", "HAS_AS_FAVOURITE_COLOUR", "blue")),
        ("My dog's name is Rex.", ("my dog", "NAME", "Rex")),
        ("Anna's birthday is 3 June.", ("Anna", "BORN_ON", "3 June")),
        ("The Orion deadline was moved to 12 May.", ("Orion", "HAS_AS_DEADLINE", "12 May")),
        ("I went to a support group yesterday.", ("You", "WENT_TO", "support group")),
        ("I live in a small flat.", ("You", "LIVES_AT", "small flat")),
        ("Our standup time is 9:30.", ("We", "HAS_AS_STANDUP_TIME", "9:30")),
        ("Mein Lieblingsfilm ist Metropolis.", ("You", "HAS_AS_LIEBLINGSFILM", "Metropolis")),
        ("J'habite à Lyon depuis 2019.", ("You", "LIVES_IN", "Lyon")),
        ("Vivo en Madrid.", ("You", "LIVES_IN", "Madrid")),
    ],
)
def test_stated(message: str, expected: tuple[str, str, str]) -> None:
    assert expected in told(message)


def test_two_clauses_two_facts_and_a_negated_one_none() -> None:
    assert told("My wife is Anna and I work for Acme Corp, but I don't live in Rome.") == [
        ("You", "MARRIED_TO", "Anna"),
        ("You", "WORKS_FOR", "Acme Corp"),
    ]


def test_dates() -> None:
    def when(message: str) -> list[str | None]:
        (one,) = statements(message, SAID)
        return [moment and moment.date().isoformat() for moment in (one.valid_at, one.invalid_at)]

    assert when("I live in Berlin.") == ["2024-05-08", None]  # known to hold when it is said, no earlier
    assert when("I have lived in Porto since 2018.") == ["2018-01-01", None]
    assert when("I moved to Rome last month.") == ["2024-04-01", None]
    assert when("I worked at Globex from 2010 to 2015.") == ["2010-01-01", "2016-01-01"]
    assert when("My birthday is March 12.") == ["2024-05-08", None]  # the date is the object


def unlearnt() -> list[str]:
    lines = (HERE / "no_facts.txt").read_text(encoding="utf-8").splitlines()
    return [line.split(" | ", 1)[1].replace("\\n", "\n") for line in lines if not line.startswith("#")]


def test_no_fact_is_learnt_of_what_is_no_statement() -> None:
    """200 messages: questions, requests, suppositions, quotations, the assistant's words, negations."""
    cases = unlearnt()
    assert len(cases) >= 200
    assert {case: told(case) for case in cases if told(case)} == {}


def test_pasted_text_after_own_words() -> None:
    assert told("I live in Graz. Summarise this:\nMy name is Bob. I work at Ford.") == [("You", "LIVES_IN", "Graz")]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from("IMi mylvengAws.,'’\"“”?!-–:;\n>`1é東"), max_size=300))
def test_any_text(message: str) -> None:
    told(message)


@pytest.mark.parametrize(
    "message",
    [
        *("I am " * 1600, "my " * 3000, "I live in " + "a " * 4000, "'" * 8000, '"a ' * 3000, "I, " * 2700),
        *("My a b " * 1200, "I live in Rome. " * 500, "and I " * 1500, "the of for " * 800),
    ],
)
def test_hostile_text_is_quick_and_bounded(message: str) -> None:
    started = time.process_time()
    assert len(statements(message, SAID)) <= MAX_STATEMENTS
    assert time.process_time() - started < 3
