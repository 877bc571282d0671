"""Which word sequences of a question may be names."""

from __future__ import annotations

import pytest

from memory.naming import asked


@pytest.mark.parametrize(
    ("question", "name", "may_be"),
    [
        ("What did Juan Carlos I visit?", "juan carlos i", True),  # the first of that name
        ("Juan Carlos I / Rafael Correa", "juan carlos i", True),
        ("where may i sit", "may i", False),
        ("Did Orion Labs use the", "orion labs use the", False),
        ("Did Orion Labs use it?", "orion labs", True),
    ],
)
def test_a_name_may_end_in_a_numeral_but_not_in_a_small_word(question: str, name: str, may_be: bool) -> None:
    assert (name in asked(question)) is may_be
