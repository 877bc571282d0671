"""Citations: bound to exact spans, mended, added, struck; and nothing unsupported leaves."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.state import Found
from agents.verify import WITHHELD, Verify, verified
from tests.agents.passages import Documents, Run

DOCUMENTS = Documents(
    {
        "Qdrant": "Qdrant is a vector search engine. It is written in Rust.\n\nIt was first released in 2021.",
        "Backup": "A backup runs every 6 hours. Backups are kept for 30 days. They never leave the machine.",
        "Formats": "AegisRAG reads these formats:\n- PDF, page by page\n- DOCX\n- Markdown\n",
    }
)
CHUNKS = dict(enumerate(DOCUMENTS.all.values(), start=1))
FACT = "A backup runs every 6 hours"


@pytest.mark.parametrize(
    "written",
    [
        f"{FACT} [2].",
        f"{FACT}. [2]",
        f"{FACT} 【2】.",
        f"{FACT} 【2†source】.",
        f"{FACT} [^2].",
        f"{FACT} (source 2).",
        f"{FACT} [Evidence 2].",
        f"{FACT} [ 2 ].",
        f"{FACT} [2, 9].",
        f"{FACT} [7][2].",
        f"{FACT}.",  # not named, but clear
        f"{FACT} [9].",  # invented
        f"{FACT} [1].",  # another passage
    ],
)
def test_habits_of_small_models_are_mended(written: str) -> None:
    answer, citations = verified(written, CHUNKS)
    assert answer.replace(" ", "") == f"{FACT}.[2]".replace(" ", "")
    assert [(citation.marker, citation.quote, citation.support) for citation in citations] == [(2, f"{FACT}.", 1.0)]


def test_spans_count_in_the_document() -> None:
    answer = "It is written in Rust [1]. Backups are kept for 30 days [2]. It reads PDF page by page [3]."
    _, citations = verified(answer, CHUNKS)
    assert [citation.marker for citation in citations] == [1, 2, 3]
    for citation in citations:
        assert DOCUMENTS.document_text(citation.document_id)[citation.start : citation.end] == citation.quote


def test_the_quote_is_the_sentence_that_supports_and_may_be_two() -> None:
    _, citations = verified("Backups run every 6 hours and are kept for 30 days [2].", CHUNKS)
    assert citations[0].quote == "A backup runs every 6 hours. Backups are kept for 30 days."


def test_a_list_is_cited_once() -> None:
    answer, citations = verified("AegisRAG reads these formats:\n- PDF, page by page\n- DOCX\n- Markdown [3]", CHUNKS)
    assert answer.count("[3]") == 1
    assert len(citations) == 1
    assert citations[0].quote.startswith("AegisRAG reads")
    assert citations[0].quote.endswith("Markdown")


def test_brackets_in_code_are_left_alone() -> None:
    answer, _ = verified("A backup runs every 6 hours [2].\n\n```\nvalues[1]\n```\n", CHUNKS)
    assert "values[1]" in answer


def test_one_passage_cited_twice_has_two_quotes() -> None:
    answer, citations = verified("A backup runs every 6 hours [2]. They never leave the machine [2].", CHUNKS)
    assert answer.count("[2]") == 2
    assert [citation.quote for citation in citations] == [
        "A backup runs every 6 hours.",
        "They never leave the machine.",
    ]


@given(st.text(alphabet="ab [](){}【】^12390.,;\n`-# source", max_size=120))
def test_whatever_a_model_writes_citations_are_true(answer: str) -> None:
    mended, citations = verified(answer, CHUNKS)
    for citation in citations:
        assert f"[{citation.marker}]" in mended
        assert 1 <= citation.marker <= len(CHUNKS)
        assert DOCUMENTS.document_text(citation.document_id)[citation.start : citation.end] == citation.quote


async def test_an_answer_nothing_supports_is_withheld() -> None:
    state = DOCUMENTS.state("Who is the king?", answer="Elvis is the king of rock and roll [1].")
    changed = await Verify(DOCUMENTS)(state, Run().runtime)
    assert changed["abstained"]
    assert changed["citations"] == []
    assert "Elvis" not in changed["answer"]
    assert changed["notes"] == [WITHHELD]


@pytest.mark.parametrize("answer", ["The documents do not say.", "The evidence does not mention a king.", ""])
async def test_a_refusal_is_an_abstention(answer: str) -> None:
    changed = await Verify(DOCUMENTS)(DOCUMENTS.state("Who is the king?", answer=answer), Run().runtime)
    assert changed["abstained"]
    assert "“Qdrant”" in changed["answer"]


async def test_a_supported_answer_leaves_with_its_citations() -> None:
    changed = await Verify(DOCUMENTS)(DOCUMENTS.state("How often?", answer=f"{FACT} [2]."), Run().runtime)
    assert not changed["abstained"]
    assert changed["citations"][0]["chunk_id"] == "c2"
    assert changed["citations"][0]["document_id"] == "d2"


async def test_a_chunk_erased_meanwhile_leaves_the_other_markers_alone() -> None:
    state = DOCUMENTS.state("How often?", answer=f"{FACT} [3].")
    gone = {"chunk_id": "gone", "document_id": "", "title": "", "score": 2.0, "via": []}
    state["found"] = [cast(Found, gone), *state.get("found", [])]
    changed = await Verify(DOCUMENTS)(state, Run().runtime)
    assert [(citation["marker"], citation["chunk_id"]) for citation in changed["citations"]] == [(1, "c2")]


async def test_an_empty_answer_is_told_to_whoever_watches() -> None:
    run = Run()
    changed = await Verify(DOCUMENTS)(DOCUMENTS.state("Who?", answer=""), run.runtime)
    assert run.text == changed["answer"]


async def test_another_scope_has_nothing_to_cite() -> None:
    run = Run(collections=("elsewhere",))
    changed = await Verify(DOCUMENTS)(DOCUMENTS.state("How often?", answer=f"{FACT} [2]."), run.runtime)
    assert changed["abstained"]


async def test_markers_count_from_one_in_the_order_of_reading() -> None:
    documents = Documents({"Ports": "The server listens on port 8000.", "Backups": "A backup runs every 6 hours."})
    state = documents.state("q", answer="A backup runs every 6 hours [2]. The server listens on port 8000 [1].")
    changes = await Verify(documents)(state, Run().runtime)
    assert changes["answer"] == "A backup runs every 6 hours. [1] The server listens on port 8000. [2]"
    assert [(each["marker"], each["title"]) for each in changes["citations"]] == [(1, "Backups"), (2, "Ports")]


async def test_a_sentence_is_said_once() -> None:
    documents = Documents({"Backups": "A backup runs every 6 hours.", "Copy": "A backup runs every 6 hours."})
    state = documents.state("q", answer="A backup runs every 6 hours [1]. A backup runs every 6 hours [2].")
    changes = await Verify(documents)(state, Run().runtime)
    assert changes["answer"] == "A backup runs every 6 hours. [1][2]"
