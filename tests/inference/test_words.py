"""Content words meet across forms, spellings of a script, and languages."""

from __future__ import annotations

import pytest

from inference.words import content_words, coverage, rarity


@pytest.mark.parametrize("forms", [("stores", "stored", "storing"), ("policies", "policy"), ("running", "runs")])
def test_forms_of_a_word_meet(forms: tuple[str, ...]) -> None:
    assert len({tuple(content_words(form)) for form in forms}) == 1


def test_question_words_carry_nothing() -> None:
    assert content_words("What is the of and wie ist der") == []


def test_unspaced_scripts_share_words_with_the_text_they_come_from() -> None:
    assert set(content_words("日本の首都")) & set(content_words("東京は日本の首都です"))


def test_a_word_seen_nowhere_weighs_most() -> None:
    idf = rarity([{"a", "b"}, {"a"}])
    assert coverage({"a", "x"}, {"a"}, idf) < 0.5 < coverage({"a", "b"}, {"b"}, idf)
    assert coverage(set(), {"a"}, idf) == 0.0
