"""The evidence bench: what it measures by, on scores that are known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from evals.bench.calibration import crossed, fitted
from evals.bench.datasets import lines
from evals.bench.evidence import OURS, auroc, marked, separation
from evals.bench.extractive import unasked_of


def pairs(seed: int, count: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Two features, of which the first decides."""
    random = np.random.default_rng(seed)
    features = random.standard_normal((count, 2))
    right = (random.random(count) < 1 / (1 + np.exp(-(2 * features[:, 0] - 0.5)))).astype(float)
    return features, right


def test_the_fit_finds_what_made_the_pairs() -> None:
    features, right = pairs(1)
    found = fitted(features, right, np.ones(len(right)))
    assert found.weights == pytest.approx((2, 0), abs=0.25)
    assert found.bias == pytest.approx(-0.5, abs=0.25)


def test_what_counts_more_moves_the_fit_and_how_many_pairs_there_are_does_not() -> None:
    features, right = pairs(2)
    heavy = fitted(features, right, np.where(right == 1, 3.0, 1.0))
    plain = fitted(features, right, np.ones(len(right)))
    assert heavy.bias > plain.bias + 0.5
    assert fitted(features, right, np.full(len(right), 7.0)) == plain


def test_a_document_is_scored_by_a_fit_that_never_saw_it() -> None:
    """Each document's own feature tells its answer: who has seen it knows, who has not is at chance."""
    random = np.random.default_rng(3)
    documents = [f"d{number // 4}" for number in range(400)]
    right = random.integers(0, 2, 100).repeat(4).astype(float)
    features = np.zeros((400, 100))
    features[np.arange(400), np.arange(400) // 4] = 1
    seen = fitted(features, right, np.ones(400))(features)
    unseen = crossed(features, right, np.ones(400), documents)
    assert auroc(seen[right == 1], seen[right == 0]) == 1
    assert auroc(unseen[right == 1], unseen[right == 0]) < 0.65


def test_separation_is_the_share_of_pairs_in_order() -> None:
    found = separation([0.9, 0.8, 0.3], [0.2, 0.3])
    assert found["auroc"] == pytest.approx(5.5 / 6, abs=1e-4)
    assert found["interval"][0] <= found["auroc"] <= found["interval"][1]
    kept = {point["score"]: (point["kept"], point["let_through"]) for point in found["roc"]}
    assert kept[0.8] == (0.6667, 0.0)


def test_our_questions_come_in_both_kinds_about_the_same_passages() -> None:
    rows = list(lines(OURS))
    kinds = {kind: {row["passage"] for row in rows if row["answerable"] is kind} for kind in (True, False)}
    assert kinds[True] == kinds[False]
    assert len(rows) >= 150
    assert len({row["question"].casefold() for row in rows}) == len(rows)


def test_what_an_article_does_not_tell_is_asked_only_beside_what_it_tells() -> None:
    entities = [{"id": 0, "name": "Ada Byron", "aliases": []}, {"id": 1, "name": "1815", "aliases": []}]
    row = {"title": "Ada Byron", "entities": entities, "triples": [[0, "P569", 1, [0]]]}
    assert [question.text for question in unasked_of(row)] == ["Where was Ada Byron born?", "Where did Ada Byron die?"]
    assert not list(unasked_of({**row, "triples": []}))


@pytest.mark.parametrize(
    ("row", "unanswerable"),
    [
        ({"text": "q"}, False),
        ({"text": "q", "answer": ["Oslo"], "meta": None}, False),
        ({"text": "q", "answer": ""}, True),
        ({"text": "q", "meta": {"answerable": False}}, True),
        ({"text": "q", "meta": {"is_impossible": True}}, True),
        ({"text": "q", "meta": {"answerable": True, "is_impossible": False}}, False),
    ],
)
def test_a_set_may_mark_questions_that_have_no_answer(row: dict[str, object], unanswerable: bool) -> None:
    assert marked(row) is unanswerable
