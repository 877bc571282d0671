"""Follow-ups made to stand alone."""

from __future__ import annotations

import pytest

from agents.condense import standalone
from agents.topic import content_words, names, topic

EDGE = ("What is Qdrant Edge?", "Qdrant Edge is the Rust engine as a library [1].")
LOPEZ = ("Who was head of finance in 2019?", "Maria Lopez was head of finance [1].")
SQLITE = ("How do I back up SQLite?", "Copy the file [1].")


def understood(question: str, *turns: tuple[str, str]) -> str:
    return standalone(question, [{"question": asked, "answer": answer} for asked, answer in turns])


@pytest.mark.parametrize(
    ("question", "before", "expected"),
    [
        ("How does it store vectors?", EDGE, "How does Qdrant Edge store vectors?"),
        ("What is its licence?", EDGE, "What is Qdrant Edge's licence?"),
        ("Does that work offline?", EDGE, "Does Qdrant Edge work offline?"),
        ("why?", EDGE, "Why: What is Qdrant Edge?"),
        ("tell me more", EDGE, "Tell me more about Qdrant Edge."),
        ("What about Neo4j?", EDGE, "What is Neo4j?"),
        ("and PostgreSQL?", SQLITE, "How do I back up PostgreSQL?"),
        ("on Windows?", SQLITE, "How do I back up SQLite on Windows?"),
        ("And in 2023?", LOPEZ, "Who was head of finance in 2023?"),
        ("2021?", LOPEZ, "Who was head of finance in 2021?"),
        ("Where did she study?", LOPEZ, "Where did Maria Lopez study?"),
        ("What is her phone number?", LOPEZ, "What is Maria Lopez's phone number?"),
        ("How long are they kept?", ("What are outbox rows?", "Rows."), "How long are outbox rows kept?"),
    ],
)
def test_what_is_left_out_is_put_in(question: str, before: tuple[str, str], expected: str) -> None:
    assert understood(question, before) == expected


@pytest.mark.parametrize(
    "question",
    [
        "What is Redis and how does it evict keys?",
        "Is it possible to restore a backup?",
        "Which one is faster, Redis or Valkey?",
        "Is this document current?",
        "How many files does a job take?",
        "What does it take to restore a backup?",
    ],
)
def test_a_question_with_its_own_subject_is_left_alone(question: str) -> None:
    assert understood(question, EDGE) == question


def test_without_earlier_turns_nothing_is_changed() -> None:
    assert understood("How does it work?") == "How does it work?"


def test_the_subject_is_looked_for_further_back() -> None:
    assert understood("What is its licence?", EDGE, ("ok", "All right.")) == "What is Qdrant Edge's licence?"


def test_names_topics_and_words() -> None:
    assert names("Are both Maria Lopez and Chen Wei members of `steering_group`?") == [
        "Maria Lopez", "Chen Wei", "steering_group"
    ]  # fmt: skip
    assert names("How does the server start?") == []
    assert topic("How do I install AegisRAG on Linux?") == "AegisRAG"
    assert topic("What is the refund period?") == "refund period"
    assert content_words("What is the refund period of the shop?") == ["refund", "period", "shop"]


@pytest.mark.parametrize("question", ["", " ", "it " * 2000, "?" * 500, "AND " * 1500, "\ud800 it \0?"])
def test_any_text_is_taken(question: str) -> None:
    assert isinstance(understood(question, EDGE), str)
