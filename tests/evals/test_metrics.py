"""Each evaluator on answers made for it."""

from __future__ import annotations

import pytest

from evals.assistant import Answer, Cited
from evals.cases import Case, Saved
from evals.metrics import (
    Answered,
    Citations,
    Expected,
    Latency,
    Observation,
    Similarity,
    Sources,
    jaccard,
    says,
    score,
    token_f1,
)

YES = Answer("It is 42 [1].", False, (Cited("d1", 0, 2, "42", "file:///docs/a.md"),))
NO = Answer("The documents do not say.", True)


def _seen(answer: Answer | None = YES, holds: tuple[bool, ...] = (True,), **case: object) -> Observation:
    return Observation(Case.model_validate({"id": "a", "question": "q", **case}), answer, 0.5, holds)


@pytest.mark.parametrize(
    ("answer", "abstain", "value"), [(YES, False, 1), (YES, True, 0), (NO, True, 1), (NO, False, 0)]
)
def test_answered_compares_with_what_is_right(answer: Answer, abstain: bool, value: float) -> None:
    assert Answered().score(_seen(answer, abstain=abstain)) == value


def test_a_failure_is_no_right_answer_even_where_silence_would_be() -> None:
    assert Answered().score(_seen(None, (), abstain=True)) == 0
    assert Expected().score(_seen(None, (), expect=[["x"]])) == 0
    assert Latency().score(_seen(None, ())) is None


def test_expected_needs_every_group_by_any_of_its_words() -> None:
    assert Expected().score(_seen(expect=[["forty-two", "42"], ["it"]])) == 1
    assert Expected().score(_seen(expect=[["42"], ["absent"]])) == 0
    assert Expected().score(_seen()) is None
    assert Expected().score(_seen(NO, (), expect=[["documents"]])) == 0  # the words of an abstention do not count


@pytest.mark.parametrize(
    ("text", "words", "there"),
    [
        ("exit code 1", "1", True),
        ("see [1]", "1", False),
        ("see [1, 12]", "12", False),
        ("port 8000.", "8000", True),
        ("port 18000", "8000", False),
        ("FULL\n  disk", "full disk", True),
        ("a `--json` flag", "--json", True),
        ("reddish", "red", False),
        ("Ramírez", "ramírez", True),
    ],
)
def test_words_are_found_whole_and_not_in_markers(text: str, words: str, there: bool) -> None:
    assert says(text, words) is there


def test_citations_are_the_share_that_holds_and_an_answer_owes_one() -> None:
    assert Citations().score(_seen(holds=(True, False))) == 0.5
    assert Citations().score(_seen(Answer("42", False), (), expect=[["42"]])) == 0
    assert Citations().score(_seen(Answer("Hello!", False), ())) is None
    assert Citations().score(_seen(NO, (), expect=[["42"]])) is None  # silence owes none
    assert Citations().score(_seen(YES, (False,), abstain=True)) == 0


def test_sources_by_name_and_against_a_saved_answer() -> None:
    assert Sources().score(_seen(source="a.md")) == 1
    assert Sources().score(_seen(source="b.md")) == 0
    assert Sources().score(_seen(saved=Saved(documents=frozenset({"d1", "d2"})))) == 0.5
    assert Sources().score(_seen()) is None


def test_similarity_ignores_markers_and_order() -> None:
    assert Similarity().score(_seen(saved=Saved(answer="42 it is [3]"))) == 1
    assert Similarity().score(_seen()) is None
    assert token_f1("a b c d", "a b") == pytest.approx(2 / 3)
    assert token_f1("a a", "a") == pytest.approx(2 / 3)
    assert token_f1("", "") == 1
    assert token_f1("a", "") == 0


def test_jaccard() -> None:
    assert jaccard("ab", "bc") == pytest.approx(1 / 3)
    assert jaccard("", "") == 1


def test_a_case_is_scored_only_by_what_says_something_about_it() -> None:
    assert score(_seen()).values == {"answered": 1, "citations": 1, "seconds": 0.5}
