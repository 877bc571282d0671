"""Late interaction over the real static embeddings."""

from __future__ import annotations

import functools

import pytest

from retrieval import interaction
from retrieval.embedding.wordllama import load_wordllama
from retrieval.interaction import MaxSim, reranked
from retrieval.store import Scored


@functools.cache
def maxsim() -> MaxSim:
    return MaxSim(load_wordllama().word_vectors)


def test_the_passage_with_the_rare_words_of_the_question_is_best() -> None:
    passages = [
        "The museum opens every day at nine and closes at six.",
        "The aquarium keeps penguins; feeding penguins starts at noon.",
        "The museum of the city and the aquarium of the city are near.",
    ]
    scores = maxsim().scores("When does the feeding of penguins start?", passages)
    assert scores.index(max(scores)) == 1
    assert max(scores) == pytest.approx(1, abs=1e-3)
    assert min(scores) == 0


def test_related_words_count_where_none_is_shared() -> None:
    scores = maxsim().scores("automobile engine", ["A recipe for bread.", "The car has a strong motor."])
    assert scores[1] > scores[0]


def test_nothing_to_compare() -> None:
    assert maxsim().scores("...", ["a", "b"]) == [0.0, 0.0]
    assert maxsim().scores("word", ["", "..."]) == [0.0, 0.0]
    assert maxsim().scores("word", []) == []
    assert maxsim().scores("word", ["", "word"])[1] > 0


def test_full_it_starts_anew_and_scores_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interaction, "KEPT", 8)
    small = MaxSim(load_wordllama().word_vectors)
    pairs = [("red ship", ["red ship sails", "blue car"]), ("green tree", ["green leaf tree", "grey stone"])]
    for question, passages in (*pairs, *pairs):
        assert small.scores(question, passages) == pytest.approx(maxsim().scores(question, passages), abs=1e-3)


def test_mixing_keeps_the_rest_behind() -> None:
    ranking = [Scored("a", 0.8), Scored("b", 0.78), Scored("c", 0.5)]
    mixed = reranked(ranking, [0.0, 1.0], [0.0, 0.0])
    assert [found.id for found in mixed] == ["b", "a", "c"]
    assert mixed[1].score == pytest.approx(0.75 / (0.75 * 0.78 / 0.8 + 0.25))
    assert reranked([], [], []) == []


def test_nearness_counts_also_without_meaning() -> None:
    ranking = [Scored("a", 0.8), Scored("b", 0.76), Scored("c", 0.5)]
    assert [found.id for found in reranked(ranking, None, [0.0, 1.0])] == ["b", "a", "c"]
