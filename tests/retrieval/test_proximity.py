"""Words that stand together in the question are looked for together."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.proximity import nearness


def test_words_that_follow_each_other_beat_the_same_words_apart() -> None:
    together = "Mortality rises with low birth weight."
    apart = "The weight of the evidence is low: mortality at birth falls."
    scores = nearness("low birth weight", [apart, together, "Nothing of it.", "Birth only."])
    assert scores[1] == pytest.approx(1)
    assert scores[1] > scores[0] > scores[2] == scores[3] == 0


def test_order_inflection_and_case_do_not_matter() -> None:
    asked = "stored embeddings"
    one, other, apart = nearness(asked, ["Embedding stores", "EMBEDDINGS STORED", "Embeddings are what it has stored"])
    assert one > 2 * apart
    assert other > 1.5 * apart
    assert nearness("success story", ["stories of successes ", "storied"])[0] > 0.5


def test_stems_begin_words_and_do_not_swallow_longer_ones() -> None:
    assert nearness("art form", ["smart forms", "articulation forms", "art forms"]) == pytest.approx([0, 0, 1])


def test_scripts_without_spaces_meet_by_pairs_of_characters() -> None:
    near, far = nearness("低出生体重", ["死亡率は低出生体重で高い。", "体重は低い。出生率も。"])
    assert near > far


def test_a_single_word_says_nothing() -> None:
    assert nearness("birth", ["birth"]) == [0.0]
    assert nearness("the of", ["the of"]) == nearness("birth birth", ["birth birth"]) == [0.0]
    assert nearness("low birth", []) == []


@given(st.text(max_size=60), st.lists(st.text(max_size=120), max_size=5))
def test_any_texts_are_scored_in_bounds(question: str, passages: list[str]) -> None:
    scores = nearness(question, passages)
    assert len(scores) == len(passages)
    assert all(0 <= score <= 1 + 1e-9 for score in scores)
    for one, other in pairwise(passages):
        assert (one == other) <= (scores[passages.index(one)] == scores[passages.index(other)])
