"""How much of a question one sentence says, with the real static vectors."""

from __future__ import annotations

import functools

import pytest

from agents.alignment import aligned, question_words
from inference import Passage
from inference.extractive import candidates
from inference.words import rarity
from retrieval.embedding.wordllama import load_wordllama
from retrieval.interaction import MaxSim


@functools.cache
def maxsim() -> MaxSim:
    return MaxSim(load_wordllama().word_vectors)


def said(question: str, *texts: str, title: str = "") -> float:
    found = [c for n, text in enumerate(texts, 1) for c in candidates(Passage(n, f"c{n}", title, text, 0, 1.0, None))]
    return aligned(question, found, maxsim().nearest, rarity(c.words for c in found))


HOLIDAY = "Holiday Inn was bought by InterContinental in 1990. The rooms were painted."


def test_all_of_it_in_one_sentence_is_one() -> None:
    assert said("When was Holiday Inn bought by InterContinental?", HOLIDAY) == pytest.approx(1)
    assert said("When was Holiday Inn bought?", "It was bought in 1990.", title="Holiday Inn") == pytest.approx(1)


def test_forms_and_meanings_meet_and_foreign_words_do_not() -> None:
    same = said("Who buys Holiday Inn?", HOLIDAY)
    near = said("Who purchased Holiday Inn?", HOLIDAY)
    far = said("Who criticised Holiday Inn?", HOLIDAY)
    assert same > near > far


def test_names_and_numbers_meet_only_themselves() -> None:
    asked = "What happened to Holiday Inn in 1990?"
    assert said(asked, HOLIDAY) > said(asked, HOLIDAY.replace("1990", "1991")) + 0.05
    assert said(asked, HOLIDAY) > said(asked, HOLIDAY.replace("Holiday", "Vacation")) + 0.05


def test_one_sentence_must_say_it() -> None:
    together = said("Who painted the rooms in 1990?", "Odd Berge painted the rooms in 1990.")
    apart = said("Who painted the rooms in 1990?", "Odd Berge painted it. Chairs came too. The house opened in 1990.")
    assert together > apart + 0.1


def test_what_stands_in_the_sentence_before_counts_a_little_less() -> None:
    here = said("When did the harbour of Lahti open?", "The harbour of Lahti opened in 1984.")
    before = said("When did the harbour of Lahti open?", "The harbour of Lahti is old. It opened in 1984.")
    nowhere = said("When did the harbour of Lahti open?", "The village is old. It opened in 1984.")
    assert here > before > nowhere


def test_scripts_without_spaces_meet_by_pairs_of_signs() -> None:
    right = said("图书馆什么时候开门", "图书馆每天早上九点开门。")
    wrong = said("图书馆什么时候开门", "大象喜欢吃香蕉和树叶。")
    assert right > wrong + 0.2


def test_names_have_capitals_or_digits_but_no_opening_word_is_one() -> None:
    assert [word.text for word in question_words("Which Ship sails in 1990?") if word.named] == ["Ship", "1990"]
    assert not question_words("what is it?")


@pytest.mark.parametrize("question", ["", "?", "the of a", "x" * 8000, "word " * 3000, "𝔘𝔫𝔦 \u0000 ٣"])
def test_odd_questions_have_a_share(question: str) -> None:
    assert 0 <= said(question, HOLIDAY) <= 1.0001


def test_nothing_found_says_nothing() -> None:
    assert said("Who painted it?", "...") == 0.0
    assert said("What is it?", HOLIDAY) == 1.0  # nothing is asked that could be missing
