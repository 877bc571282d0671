"""When two questions ask for the same: on the paraphrase set, and where the rules could go wrong."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from agents.agreement import WordVectors, disagreement
from retrieval.embedding.wordllama import load_wordllama

PAIRS = Path(__file__).with_name("paraphrases.jsonl")


@pytest.fixture(scope="module")
def vectors() -> WordVectors:
    return load_wordllama().word_vectors


@pytest.mark.parametrize("half", ["tuning", "held out"])
def test_most_paraphrases_agree_and_near_misses_do_not(vectors: WordVectors, half: str) -> None:
    """What issue 6 asks for: hits on at least 60 % of the true paraphrases, false hits at most 0.5 %."""
    pairs = [pair for line in PAIRS.read_text("utf-8").splitlines() if (pair := json.loads(line))["half"] == half]
    agreed, asked = Counter[str](), Counter[str]()
    for pair in pairs:
        asked[pair["kind"]] += 1
        agreed[pair["kind"]] += disagreement(pair["one"], pair["other"], vectors) is None
    same = agreed.pop("same"), asked.pop("same")
    assert same[0] >= 0.6 * same[1]
    assert agreed.total() <= 0.005 * asked.total()


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ("What is said in clause 7?", "What is said in clause 9?", "number"),
        ("Who leads Atlas?", "Who leads Apollo?", "name"),
        ("Which seats are free?", "Which seats are not free?", "negation"),
        ("What was decided in May?", "What was decided in June?", "date"),
        ("What is due before the audit?", "What is due after the audit?", "direction"),
        ("How do I go from Rome to Bari?", "How do I go from Bari to Rome?", "direction"),
        ("Must I register?", "Can I register?", "kind"),
        ("How tall is the tower?", "How wide is the tower?", "kind"),
        ("Wo ist der Schlüssel?", "Wo liegt der Schlüssel?", "language"),
    ],
)
def test_why_they_differ(vectors: WordVectors, one: str, other: str, why: str) -> None:
    assert disagreement(one, other, vectors) == why
    assert disagreement(other, one, vectors) == why


def test_without_word_vectors_only_the_same_words_agree() -> None:
    assert disagreement("Who wrote Hamlet?", "Hamlet was written by whom?") is None
    assert disagreement("How do I fix the tap?", "How do I repair the tap?") == "words"


def test_a_question_agrees_with_itself_in_any_language() -> None:
    for question in ("Wo ist der Schlüssel?", "鍵はどこですか", "", "?" * 5000):
        assert disagreement(question, question) is None
