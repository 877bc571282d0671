"""A second formulation differs from the first and keeps what the question is about."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.rewrite import LONGEST, Rewrite, reworded
from tests.agents.passages import Documents, Run


@pytest.mark.parametrize(
    ("question", "kept"),
    [
        ("How do I set up SSO?", {"SSO", "single sign on"}),
        ("What is the authorisation behaviour?", {"authorisation", "authorization", "behavior"}),
        ("What does retrieval augmented generation mean?", {"retrieval", "rag"}),
        ("Where is AEGIS_DATA_DIR?", {"AEGIS", "DATA", "DIR"}),
        ("Which policies apply to backups?", {"policies", "backup"}),
    ],
)
def test_other_forms_are_added(question: str, kept: set[str]) -> None:
    reformed = reworded(question)
    assert reformed != question
    assert all(word in reformed for word in kept)
    assert not {"how", "what", "where", "which"} & set(reformed.lower().split())


def test_a_second_attempt_looks_elsewhere() -> None:
    assert reworded("How does the backup of Qdrant work?", ["Qdrant"], attempt=1) == "backup work"


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(max_size=2000), st.integers(0, 3))
def test_any_question_gives_a_bounded_query(question: str, attempt: int) -> None:
    reformed = reworded(question, ["a title"], attempt)
    assert reformed == question or 0 < len(reformed) <= LONGEST


async def test_attempts_are_counted() -> None:
    documents = Documents({"Qdrant": "text"})
    changed = await Rewrite()(documents.state("What is SSO?", attempts=1), Run().runtime)
    assert changed["attempts"] == 2
    assert changed["query"]
