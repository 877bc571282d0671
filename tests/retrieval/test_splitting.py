"""Chunks: exact spans, full coverage, sizes, structure."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.loaders import load
from retrieval.loaders.document import LoadedDocument
from retrieval.splitting import BYTES_PER_TOKEN, MAX_OVER, split

PROSE = st.lists(
    st.one_of(
        st.sampled_from(["a", "b", " ", ". ", "\n", "\n\n", "? ", "。", " | ", "- ", "\t", "word", "\u3000"]),
        st.characters(codec="utf-8"),
        st.sampled_from(["e\u0301", "\U0001f468\u200d\U0001f469", "ไทย", "日本"]),
    ),
    max_size=400,
).map("".join)


def document(text: str, headings: tuple[tuple[int, int, str], ...] = ()) -> LoadedDocument:
    return LoadedDocument(text, "Title", "text/plain", headings=headings)


@given(PROSE, st.integers(4, 60), st.lists(st.integers(0, 600), max_size=4))
def test_spans_are_exact_ordered_and_cover_all_text(text: str, tokens: int, places: list[int]) -> None:
    headings = tuple((place, 1, "H") for place in sorted(set(places)) if place < len(text))
    pieces = split(document(text, headings), tokens)
    covered = set[int]()
    for before, after in pairwise(pieces):
        assert before.span.end <= after.span.start
    for piece in pieces:
        assert piece.text == text[piece.span.start : piece.span.end]
        assert piece.text.strip()
        covered.update(range(piece.span.start, piece.span.end))
    assert all(text[index].isspace() for index in range(len(text)) if index not in covered)


@given(PROSE, st.integers(8, 60))
def test_no_chunk_exceeds_its_bound(text: str, tokens: int) -> None:
    for piece in split(document(text), tokens):
        spaces = len(piece.text.encode()) - len("".join(piece.text.split()).encode())
        assert len(piece.text.encode()) - spaces <= MAX_OVER * tokens * BYTES_PER_TOKEN


@given(st.lists(st.text("abcdefg", min_size=1, max_size=12), min_size=1, max_size=300), st.integers(8, 40))
def test_words_stay_whole(words: list[str], tokens: int) -> None:
    pieces = split(document(" ".join(words)), tokens)
    assert " ".join(piece.text for piece in pieces).split() == words


@pytest.mark.parametrize(
    "grapheme", ["e\u0323\u0301", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f44d\U0001f3fd", "กำ"]
)
def test_graphemes_stay_whole(grapheme: str) -> None:
    text = grapheme * 400
    cuts = {piece.span.start for piece in split(document(text), 20)}
    assert len(cuts) > 5
    assert all(cut % len(grapheme) == 0 for cut in cuts)


def test_a_heading_stays_with_what_follows_and_names_the_path() -> None:
    markdown = (
        "# Guide\n\n" + "Intro sentence here. " * 20 + "\n\n## Setup\n\n### Linux\n\n" + "Run the thing now. " * 30
    )
    loaded = load(markdown.encode(), "guide.md")
    pieces = split(loaded, 100)
    assert loaded.title == "Guide"
    assert not any(piece.text.endswith(("Setup", "Linux", "Guide")) for piece in pieces)
    assert {piece.heading for piece in pieces if "Run the thing" in piece.text} >= {"Setup > Linux"}
    assert pieces[0].heading is None


def test_paragraphs_and_rows_are_not_cut_when_they_fit() -> None:
    paragraphs = [f"Paragraph {n} says something. It says it in two sentences of middling length." for n in range(40)]
    rows = [f"row {n} | value {n} | unit" for n in range(60)]
    text = "\n\n".join(paragraphs) + "\n\n" + "\n".join(rows)
    for piece in split(document(text), 100):
        for part in piece.text.split("\n\n"):
            assert part in paragraphs or set(part.split("\n")) <= set(rows)


def test_pages_label_their_chunks() -> None:
    first, second = "Alpha beta gamma. " * 30, "Delta epsilon zeta. " * 30
    text = f"{first.strip()}\n\n{second.strip()}"
    loaded = LoadedDocument(text, "T", "application/pdf", pages=((0, "1"), (text.index("Delta"), "2")))
    pieces = split(loaded, 80)
    assert all(piece.page == ("1" if piece.text.startswith("Alpha") else "2") for piece in pieces)


def test_nothing_gives_no_chunks() -> None:
    assert split(document(" \n\n\t "), 100) == []


def seconds(text: str) -> float:
    begun = time.process_time()
    split(document(text), 150)
    return time.process_time() - begun


def test_speed_is_over_a_megabyte_a_second() -> None:
    text = ("The quick brown fox jumps over the lazy dog, says e.g. Dr. Smith. " * 6 + "\n\n") * 5000
    assert seconds(text) < len(text) / 1_000_000


@pytest.mark.parametrize("unit", ["x", "a. ", "a\n\n", "\n", " ", "\u0301", "。", "-\n"])
def test_hostile_text_takes_linear_time(unit: str) -> None:
    assert seconds(unit * 200_000 + "x") < 4
