"""Phrases, spelling and acronyms, by what the passages found say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.wording import added, holds, phrases


def test_quoted_phrases_of_two_words_or_more() -> None:
    assert phrases('what does "data retention  policy" mean for “Second Level”?') == [
        "data retention policy",
        "second level",
    ]
    assert phrases('the word "retention" and 5" pipes') == []
    assert holds("The Data\nRetention Policy says", ["data retention policy"])
    assert not holds("data policy on retention", ["data retention policy"])


@pytest.mark.parametrize(
    ("query", "passage", "expected"),
    [
        ("What is our SLA?", "Each service level agreement (SLA) names a time.", ["service level agreement"]),
        ("What is our SLA?", "The SLA (service level agreement) names a time.", ["service level agreement"]),
        ("service level agreement", "A Service Level Agreement (SLA) names a time.", ["SLA"]),
        ("What is GDPR", "the General Data Protection Regulation (GDPR) holds", ["General Data Protection Regulation"]),
        ("What is our SLA?", "They met at noon (SLA).", []),
    ],
)
def test_acronyms_are_what_the_passages_define(query: str, passage: str, expected: list[str]) -> None:
    assert added(query, [passage]) == expected


def test_a_word_that_no_passage_has_brings_the_one_that_was_meant() -> None:
    passage = "Kubernetes restarts the container after a failure."
    assert added("kuberntes contaner", [passage]) == ["kubernetes", "container"]
    assert added("kubernetes containers", [passage]) == []
    assert added("giraffes", [passage]) == []


@given(st.text(max_size=80), st.lists(st.text(max_size=200), max_size=4))
def test_any_text_is_taken(query: str, passages: list[str]) -> None:
    assert len(added(query, passages)) <= 6
    assert isinstance(phrases(query), list)
