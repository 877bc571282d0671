"""Near misses: passages about the right thing that do not hold what is asked."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from agents.demands import Read, lacking, things
from inference.words import content_words

ABOUT_MARA = (
    "Mara Winther leads the conservation workshop.",
    "Mara Winther reported the leaking roof on 3 May 2023.",
    "Visitors pay 12 euros.",
)


def read(texts: Sequence[str]) -> list[Read]:
    return [Read(text, frozenset(content_words(text))) for text in texts]


@pytest.mark.parametrize(
    "question",
    [
        "How old is Mara Winther?",
        "What salary does Mara Winther earn?",  # 12 euros are not hers
        "What is the phone number of Mara Winther?",
        "What is the e-mail address of Mara Winther?",
        "How tall is Mara Winther?",
        "Where was Mara Winther born?",
        "Which football club does Mara Winther support?",
        "What colour is the car of Mara Winther?",
        "Tell me the birthday of Mara Winther",
    ],
)
def test_what_no_sentence_holds_is_missed(question: str) -> None:
    assert lacking(question, read(ABOUT_MARA))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How old is Mara Winther?", "Mara Winther, 41 years old, leads the workshop."),
        ("How old is Mara Winther?", "Mara Winther was born in 1982."),
        ("What salary does Mara Winther earn?", "Mara Winther is paid 4,100 euros a month."),
        ("What is the phone number of Mara Winther?", "Mara Winther: +47 55 21 09 88"),
        ("How much does a day ticket of Vestmuseet cost?", "A day ticket of Vestmuseet is free for children."),
        ("What colour is the door of Vestmuseet?", "The door of Vestmuseet was painted green."),
        ("Who founded Vestmuseet?", "Vestmuseet was started by two fishermen."),
        ("In which language is Vestmuseet's guide written?", "The guide of Vestmuseet is written in Norwegian."),
        ("How severe was the leak at Vestmuseet?", "The leak at Vestmuseet had severity 2."),
        ("What happens when Mara Winther is ill?", "When Mara Winther is ill, Odd Berge leads the workshop."),
        (
            "What is the place of birth of the director of the film Drift?",
            "Drift is a film by Mara Winther, born in Oslo.",
        ),
        ("Mara Winther earns a high salary, I think.", "Mara Winther leads the workshop."),
    ],
)
def test_what_a_sentence_holds_in_whatever_words_is_not_missed(question: str, answer: str) -> None:
    assert not lacking(question, read([answer]))


def test_things_stand_where_nouns_do() -> None:
    assert things("What is the annual revenue of Vestmuseet?") == ("annual", "revenue", "vestmuseet")
    assert "happens" not in things("What happens to a lost key?")


@pytest.mark.parametrize("question", ["", "?", "how old is " * 500, "of the " * 1000 + " of", "which " * 2000])
def test_hostile_questions_are_read_quickly(question: str) -> None:
    assert lacking(question, read(ABOUT_MARA)) in (True, False)
