"""The extractive writer: finds the sentence that answers, says it readably, and can be checked."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from inference import Passage, WriteRequest
from inference.extractive import Embed, ExtractiveWriter, choose, rank
from retrieval.embedding.wordllama import load_wordllama
from retrieval.interaction import MaxSim
from tests.datasets import dataset, read_jsonl

ENGINES = [
    ("Qdrant", "## Qdrant\n\nQdrant is a vector search engine written in Rust. It was first released in 2021 [3]."),
    (
        "Backup",
        "Backups keep everything that must not be lost. A backup runs every 6 hours unless set otherwise. "
        "How often does a backup run? Ask the operator.",
    ),
    (
        "Formats",
        "AegisRAG reads these formats:\n- **PDF**, page by page\n- DOCX, see [the guide](docs/x.md)\n- Markdown\n\n"
        "| Setting | Default |\n|---|---|\n| AEGIS_PORT | 8000 |\n| AEGIS_HOST | 127.0.0.1 |\n",
    ),
    ("People", "The release was led by Dr. Ada Byron. She works in Lisbon because the team is there."),
]


def passages() -> list[Passage]:
    return [Passage(i, f"c{i}", title, text, 0, 1.0 - i / 10) for i, (title, text) in enumerate(ENGINES, 1)]


async def answer(question: str, embed: Embed, given: list[Passage] | None = None, sentences: int = 1) -> str:
    request = WriteRequest(question, passages() if given is None else given, max_sentences=sentences)
    return "".join([piece.text async for piece in ExtractiveWriter(embed).write(request)])


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is Qdrant?", "Qdrant is a vector search engine written in Rust. [1]"),
        ("How often does a backup run?", "A backup runs every 6 hours unless set otherwise. [2]"),
        ("What is the default of AEGIS_PORT?", "Setting: AEGIS_PORT; Default: 8000. [3]"),
        ("Who led the release?", "The release was led by Dr. Ada Byron. [4]"),
        (
            "Which formats does AegisRAG read?",
            "AegisRAG reads these formats:\n- PDF, page by page\n- DOCX, see the guide\n- Markdown [3]",
        ),
    ],
)
async def test_the_sentence_that_answers(question: str, expected: str, embed: Embed) -> None:
    assert await answer(question, embed) == expected


async def test_a_heading_is_no_sentence_of_an_answer_whatever_it_ends_with(embed: Embed) -> None:
    heading, text = (
        "When a release is taken back (rollback).",
        "A rollback begins at once when errors double.",
    )
    passage = Passage(1, "c", "Handbook", f"{heading}\n\n{text}", 0, 1.0, f"Releases > {heading}")
    assert await answer("When is a release taken back?", embed, [passage], sentences=3) == f"{text} [1]"


async def test_marks_of_the_document_itself_are_not_taken_for_citations(embed: Embed) -> None:
    text = await answer("When was Qdrant first released?", embed, sentences=2)
    assert "2021. [1]" in text
    assert "[3]" not in text


async def test_a_sentence_that_leans_on_the_one_before_brings_it_along(embed: Embed) -> None:
    given = [Passage(1, "c", "Modes", "The mode hybrid mixes words and meaning. It is the default mode.", 0, 1.0)]
    text = await answer("Which mode is the default?", embed, given, sentences=2)
    assert text == "The mode hybrid mixes words and meaning. [1] It is the default mode. [1]"


@pytest.mark.parametrize("question", ["", "???", "the of and", "x" * 50_000])
async def test_questions_that_ask_nothing_do_no_harm(question: str, embed: Embed) -> None:
    assert isinstance(await answer(question, embed), str)
    assert await answer(question, embed, []) == ""


async def test_chinese(embed: Embed) -> None:
    given = [Passage(1, "c", "日本", "日本有许多城市。东京是日本的首都。富士山很高。", 0, 1.0)]
    assert await answer("日本的首都是哪里？", embed, given) == "东京是日本的首都。 [1]"


async def test_pieces_are_words_and_make_up_the_answer(embed: Embed) -> None:
    request = WriteRequest("What is Qdrant?", passages(), max_sentences=1)
    pieces = [piece async for piece in ExtractiveWriter(embed).write(request)]
    assert len(pieces) > 5
    assert all(len(piece.text.split()) <= 1 for piece in pieces)
    assert {piece.model for piece in pieces} == {"extractive"}


async def test_every_choice_is_an_exact_part_of_its_passage_and_quick(embed: Embed) -> None:
    given = [Passage(i, f"c{i}", t, (text + "\n\n") * 4, 0, 1.0) for i, (t, text) in enumerate(ENGINES * 2, 1)]
    took: list[float] = []
    for question in ("What is Qdrant?", "Who led the release?", "When was it released?", "Which formats?") * 3:
        started = time.process_time()
        chosen = choose(await rank(question, given, embed), 3)
        took.append(time.process_time() - started)
        assert chosen
        assert all(item.text in item.passage.text for item in chosen)
    assert sorted(took)[len(took) // 2] < 0.05  # about 5 ms on a quiet machine


async def test_finds_the_gold_sentence_of_a_public_set(embed: Embed) -> None:
    """chunking_eval: 472 questions with the spans that answer them. Given the chunk with the span and seven others of
    the same document, one of the first two sentences is (half of) a gold span for at least .75 of the questions."""
    folder = dataset("chunking_eval")
    documents = {entry["id"]: entry["text"] for entry in read_jsonl(folder / "docs.jsonl")}
    spans = _spans(folder)
    found = asked = 0
    for query in list(read_jsonl(folder / "queries.jsonl"))[::4]:
        document, start, end = spans[query["id"]][0]
        given = _around(documents[document], start, end)
        chosen = choose(await rank(query["text"], given, embed), 2)
        gold = [(s, e) for d, s, e in spans[query["id"]] if d == document]
        found += any(
            min(e, c.passage.start + c.end) - max(s, c.passage.start + c.start) >= 0.5 * min(e - s, c.end - c.start)
            for c in chosen
            for s, e in gold
        )
        asked += 1
    print(f"gold among the first two sentences: {found / asked:.3f} of {asked}")  # noqa: T201 - a figure to read
    assert found / asked >= 0.7


def _spans(folder: Path) -> dict[str, list[tuple[str, int, int]]]:
    found: dict[str, list[tuple[str, int, int]]] = {}
    for line in (folder / "spans.tsv").read_text().splitlines():
        query, document, start, end = line.split("\t")
        if start.isdigit():
            found.setdefault(query, []).append((document, int(start), int(end)))
    return found


def _around(text: str, start: int, end: int) -> list[Passage]:
    """The 900 characters with the span in their midst, and seven others of the document, all with one score."""
    middle = max(0, (start + end) // 2 - 450)
    starts = [middle, *(place for place in range(0, len(text) - 900, max(900, len(text) // 7)))][:8]
    return [Passage(i, f"c{i}", "", text[place : place + 900], place, 1.0) for i, place in enumerate(starts, 1)]


RACER = (
    "Ada Byron Lovel ( 1963 ) is a skeleton racer from Mediash. She won two medals in the skeleton event. "
    "She graduated from the Polytechnic of Turin in 1985. Her records stood for ten years."
)


async def test_what_the_title_names_need_not_be_said_again(embed: Embed) -> None:
    given = [Passage(1, "c1", "Ada Byron Lovel", RACER, 0, 1.0)]
    for question in ("How many medals did Ada Byron Lovel win?", "In which event did Ada Byron Lovel win medals?"):
        first = choose(await rank(question, given, embed), 1)
        assert [item.text for item in first] == ["She won two medals in the skeleton event."]


async def test_a_word_of_like_meaning_is_found(embed: Embed) -> None:
    given = [Passage(1, "c1", "Ada Byron Lovel", RACER, 0, 1.0)]
    closer = MaxSim(load_wordllama().word_vectors).scores
    first = choose(await rank("Where did Ada Byron Lovel study?", given, embed, closer), 1)
    assert [item.text for item in first] == ["She graduated from the Polytechnic of Turin in 1985."]
