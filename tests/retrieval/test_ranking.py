"""Fusion against values worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.ranking import UNMOVED, convex, leading, normalised, with_neighbours, with_surroundings, with_titles
from retrieval.store import Candidates, Scored

BOTH = Candidates(
    dense=[Scored("a", 0.8), Scored("b", 0.6), Scored("c", 0.2)],
    sparse=[Scored("b", 10.0), Scored("d", 5.0)],
)


def scores(found: list[Scored]) -> list[tuple[str, float]]:
    return [(scored.id, pytest.approx(scored.score)) for scored in found]  # pyright: ignore[reportUnknownMemberType, reportReturnType]  # approx has no types


def test_convex_by_hand() -> None:
    # b: .5 x 1 + .5 x .75; a: .5 x 1; d: .5 x .5; c: .5 x .25
    assert scores(convex(BOTH)) == [("b", 0.875), ("a", 0.5), ("d", 0.25), ("c", 0.125)]


def test_convex_weight_moves_between_the_halves() -> None:
    assert scores(convex(BOTH, 1.0)) == [("a", 1.0), ("b", 0.75), ("c", 0.25), ("d", 0.0)]
    assert scores(convex(BOTH, 0.0)) == [("b", 1.0), ("d", 0.5), ("a", 0.0), ("c", 0.0)]


def test_a_point_counts_in_the_half_that_did_not_find_it() -> None:
    whole = Candidates(BOTH.dense, BOTH.sparse, dense_rest=[Scored("d", 0.1)], sparse_rest=[Scored("a", 2.0)])
    # a: .5 x 1 + .5 x .2; d: .5 x .5 + .5 x .125
    assert scores(convex(whole)) == [("b", 0.875), ("a", 0.6), ("d", 0.3125), ("c", 0.125)]


def test_which_of_equal_points_end_a_full_keyword_half_does_not_matter() -> None:
    dense = [Scored("a", 0.8), Scored("b", 0.6), Scored("c", 0.6)]
    first = [Scored("a", 9.0), Scored("d", 5.0)]
    b, c, e = (Scored(name, 2.0) for name in "bce")
    one = convex(Candidates(dense, [*first, b], sparse_rest=[c]), full=3)
    assert one == convex(Candidates(dense, [*first, c], sparse_rest=[b]), full=3)
    assert convex(Candidates(dense, [*first, e], sparse_rest=[b, c]), full=3) == [*one, Scored("e", 0.0)]
    equal = [Scored("b", 2.0), Scored("c", 2.0), Scored("d", 2.0)]
    assert convex(Candidates(dense, equal), full=3)[0].id == "b"


def test_negative_cosines_count_nothing() -> None:
    only = Candidates(dense=[Scored("a", -0.1), Scored("b", -0.4)], sparse=[Scored("b", 2.0)])
    assert scores(convex(only)) == [("b", 0.5), ("a", 0.0)]


def test_ties_are_broken_by_id() -> None:
    tied = Candidates(sparse=[Scored("z", 1.0), Scored("a", 1.0), Scored("m", 1.0)])
    assert [found.id for found in convex(tied)] == ["a", "m", "z"]


def test_a_title_in_the_question_lifts_its_passage() -> None:
    found = [Scored("a", 1.0), Scored("b", 0.8)]
    titles = {"a": "Night Watch", "b": "Lillian (1925 film)"}
    assert scores(with_titles("who directed lillian?", found, titles)) == [("b", 1.0), ("a", 1 / 1.1)]
    assert with_titles("who directed lillianne?", found, titles) == found
    assert with_titles("a question", found, {"a": "A", "b": ""}) == found


def test_neighbours_lift_the_chunk_between_them() -> None:
    found = [Scored("x", 1.0), Scored("a", 0.9), Scored("b", 0.9), Scored("c", 0.6)]
    places = {"x": ("v1", 7), "a": ("v2", 1), "b": ("v2", 2), "c": ("v2", 3)}
    # b: .9 + .2 x (.9 + .6) = 1.2; a: .9 + .2 x .9 = 1.08; x: 1; c: .6 + .2 x .9 = .78
    expected = [("b", 1.0), ("a", 0.9), ("x", 1 / 1.2), ("c", 0.65)]
    assert scores(with_neighbours(found, places)) == expected


def test_what_stands_beside_a_hit_comes_before_the_tail() -> None:
    head = [Scored(f"h{n:02}", 1 - n / 100) for n in range(UNMOVED)]
    tail = [Scored("x", 0.7), Scored("y", 0.4), Scored("z", 0.3)]
    raised = with_surroundings([*head, *tail], {"h00": ["new", "h05"], "x": ["y"], "h01": ["z"]})
    # y: .65 x .7 + .2 x .4 = .535; z: .65 x .99 + .2 x .3 = .7035; new: .65
    assert raised[:UNMOVED] == head
    assert scores(raised[UNMOVED:]) == [("z", 0.7035), ("x", 0.7), ("new", 0.65), ("y", 0.535)]


def test_only_hits_whose_surroundings_may_be_seen_are_looked_around() -> None:
    found = [Scored(f"h{n:02}", 1 - n / 100) for n in range(30)]
    assert leading(found, UNMOVED) == leading(found[:5], 100) == []
    assert [hit.id for hit in leading(found, 20)] == ["h00", "h01", "h02", "h03", "h04"]
    assert leading(found, 100) == found


def test_nothing_stays_nothing() -> None:
    assert convex(Candidates()) == normalised([]) == with_titles("q", [], {}) == []


@given(
    st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.floats(-1, 1), max_size=12),
    st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.floats(0, 30), max_size=12),
    st.floats(0, 1),
)
def test_fused_scores_stay_in_bounds_and_keep_every_point(
    dense: dict[str, float], sparse: dict[str, float], weight: float
) -> None:
    candidates = Candidates([Scored(*item) for item in dense.items()], [Scored(*item) for item in sparse.items()])
    found = convex(candidates, weight, full=5)
    assert {scored.id for scored in found} == dense.keys() | sparse.keys()
    assert all(0 <= scored.score <= 1 + 1e-9 for scored in found)
    assert [s.score for s in found] == sorted((s.score for s in found), reverse=True)
