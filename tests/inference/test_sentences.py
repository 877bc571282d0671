"""Where sentences end, in prose, lists, tables and code, and in languages without spaces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.sentences import LONGEST, sentences


def texts(text: str) -> list[str]:
    return [text[part.start : part.end] for part in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dr. Smith paid $3.50. He left.", ["Dr. Smith paid $3.50.", "He left."]),
        ("J. K. Rowling wrote it. It sold.", ["J. K. Rowling wrote it.", "It sold."]),
        ("Use a store, e.g. Redis, for this. See v1.2.3 now.", None),
        ("He left at 5 p.m. The office closed.", ["He left at 5 p.m.", "The office closed."]),
        ("It moved to the U.S. Senate later.", ["It moved to the U.S. Senate later."]),
        ('"Really?" she asked. Nobody knew.', ['"Really?" she asked.', "Nobody knew."]),
        ("A name starts with u_. [1] Another follows.", ["A name starts with u_.", "[1] Another follows."]),
        ("Das ist z.B. gut. Und d.h. fertig.", ["Das ist z.B. gut.", "Und d.h. fertig."]),
        ("东京是日本的首都。它很大！对吗？", ["东京是日本的首都。", "它很大！", "对吗？"]),
        ("- One thing. More of it.\n- Two", ["One thing.", "More of it.", "Two"]),
        ("A line that was wrapped at the right margin of the page\nand goes on. Next.", None),
    ],
)
def test_where_sentences_end(text: str, expected: list[str] | None) -> None:
    found = texts(text)
    assert found == expected if expected is not None else len(found) == 2


def test_kinds_and_table_headers() -> None:
    text = "# Ports\n\n| Name | Default |\n|---|---|\n| http | 8000 |\n\n```sh\nmake run\n```\n"
    found = sentences(text)
    assert [part.kind for part in found] == ["heading", "row", "code"]
    assert found[1].header is not None
    assert text[slice(*found[1].header)] == "| Name | Default |"
    assert texts(text)[2] == "make run"


@given(st.text(alphabet="aB .!?\n|-#`。1:*", max_size=300))
def test_spans_are_in_order_bounded_and_never_overlap(text: str) -> None:
    last = 0
    for part in sentences(text):
        assert last <= part.start < part.end <= len(text)
        assert text[part.start : part.end] == text[part.start : part.end].strip()
        last = part.end


def test_a_text_without_an_end_is_cut() -> None:
    found = sentences("word " * 5000)
    assert all(part.end - part.start <= LONGEST for part in found)
    assert found[-1].end == len("word " * 5000) - 1
