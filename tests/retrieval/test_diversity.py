"""Hits that repeat each other."""

from __future__ import annotations

from retrieval.diversity import folded, spread

FIRST = "The backup runs every night at two and is kept for thirty days in the cellar of the old mill"
AGAIN = FIRST.upper() + " today"
OTHER = "Cats sleep for most of the day, which surprises nobody who has ever lived with one of them"


def test_near_duplicates_are_folded_into_the_first() -> None:
    assert folded([FIRST, OTHER, AGAIN]) == [[0, 2], [1]]
    assert folded([OTHER, FIRST[:40], FIRST]) == [[0], [1], [2]]
    assert folded([f"{FIRST} 30", f"{FIRST} 60"]) == [[0], [1]]
    assert folded(["", "", "..."]) == [[0], [1], [2]]
    assert folded([]) == []


def test_diversity_prefers_what_was_not_said_yet() -> None:
    near = FIRST.replace("cellar", "attic").replace("night", "morning").replace("two", "six")
    texts, scores = [FIRST, near, OTHER], [1.0, 0.95, 0.6]
    assert spread(scores, texts, 0.0, 3) == [0, 1, 2]
    assert spread(scores, texts, 0.5, 3) == [0, 2, 1]
    assert spread(scores, texts, 1.0, 2)[0] == 0
