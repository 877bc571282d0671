"""Relations that a question asks for, and sentences that speak of them."""

from __future__ import annotations

import pytest

from agents.relations import unspoken

ADA = "Ada Byron, born in London, wrote the first program."


@pytest.mark.parametrize(
    ("question", "sentence", "missing"),
    [
        ("Where was Ada born?", ADA, False),
        ("When did Ada die?", ADA, True),
        ("When did Ada die?", "Ada Byron (10 December 1815 – 27 November 1852) wrote programs.", False),
        ("When was Ada born?", "Ada Byron (10 December 1815 – 27 November 1852) wrote programs.", False),
        ("Who was Ada married to?", ADA, True),
        ("Who was Ada married to?", "Her husband was William King.", False),
        ("Who wrote the first program?", ADA, False),
        ("Which record label released Sand?", "Sand came out on Apple Records.", False),
        ("Which record label released Sand?", "Sand is about the sea.", True),
        ("Who founded Vestmuseet?", "Vestmuseet was started by two fishermen.", False),
        ("What colour is the door?", "The door is made of oak.", False),  # no relation that is known here
    ],
)
def test_what_is_asked_is_spoken_of_or_not(question: str, sentence: str, missing: bool) -> None:
    assert unspoken(question, [sentence]) is missing


def test_two_relations_must_be_in_one_sentence() -> None:
    question = "Where did the father of Ada die?"
    assert unspoken(question, ["Her father was Lord Byron.", "He died in Greece."])
    assert not unspoken(question, ["Her father died in Greece."])
    assert unspoken(question, [])


@pytest.mark.parametrize("text", ["", "(" * 20_000, "1" * 20_000, "1815 – " * 5_000, "released " * 5_000])
def test_hostile_sentences_are_read_quickly(text: str) -> None:
    assert unspoken("When was it released and who died born?", [text]) in (True, False)
