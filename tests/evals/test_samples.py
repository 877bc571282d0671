"""The sample documents and their cases fit together: every case can be answered, honestly, from its source."""

from __future__ import annotations

import io
import re
from collections import Counter
from pathlib import Path

import pytest
from docx import Document
from lxml import html
from pypdf import PdfReader

import samples
from evals.cases import OFF_TOPIC, SAMPLES, Case, read_cases
from evals.metrics import meets
from samples import make

CASES = read_cases(SAMPLES)
SILENT = read_cases(OFF_TOPIC)
_SENTENCE_END = re.compile(r"(?<=[.?!])\s+|\n\s*\n|\n(?=[-|#\d])")


def _plain(path: Path) -> str:
    if path.suffix == ".pdf":
        return "\n".join(page.extract_text() for page in PdfReader(path).pages)
    if path.suffix == ".docx":
        return "\n\n".join(each.text for each in Document(str(path)).paragraphs)
    text = path.read_text("utf-8")
    return "\n\n".join(html.fromstring(text).itertext()) if path.suffix == ".html" else text.replace("`", "")


def _sentences(path: Path) -> list[str]:
    return [" ".join(each.split()) for each in _SENTENCE_END.split(_plain(path)) if each.strip()]


def test_there_are_documents_enough_in_at_least_four_formats() -> None:
    files = sorted(samples.FOLDER.iterdir())
    assert len(files) >= 24
    assert {file.suffix for file in files} == {".md", ".html", ".txt", ".pdf", ".docx"}
    binary = [file for file in files if file.suffix in {".pdf", ".docx"}]
    assert sum(file.stat().st_size for file in binary) < 300_000


def test_binary_samples_are_what_their_sources_make(tmp_path: Path) -> None:
    for made in make.main(tmp_path):
        shipped = samples.FOLDER / made.name
        assert _plain(made) == _plain(shipped), f"{made.name} is out of date: run `python -m samples.make`"


def test_equal_sources_make_equal_bytes() -> None:
    source = "# A title\n\n## Part\n\nWords.\n\n- item\n"
    assert make.pdf(source) == make.pdf(source)
    assert make.docx(source) == make.docx(source)
    assert Document(io.BytesIO(make.docx(source))).core_properties.title == "A title"


def test_cases_are_many_and_spread_over_all_documents() -> None:
    assert len(CASES) >= 100
    assert len(SILENT) >= 20
    assert len({case.question.casefold() for case in [*CASES, *SILENT]}) == len(CASES) + len(SILENT)
    count = Counter(case.source for case in CASES)
    assert count.keys() == {file.name for file in samples.FOLDER.iterdir()}
    assert min(count.values()) >= 3
    assert all(case.abstain and not case.expect for case in SILENT)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_case_is_answered_by_three_sentences_of_its_source_and_not_by_itself(case: Case) -> None:
    assert case.source
    sentences = _sentences(samples.FOLDER / case.source)
    holding = [each for each in sentences if any(meets(each, [group]) for group in case.expect)]
    windows = (" ".join(sentences[start : start + 3]) for start in range(len(sentences)))
    assert any(meets(window, case.expect) for window in windows), holding
    assert case.expect
    assert not meets(case.question, case.expect), "the question already says what is expected"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_question_is_worded_by_a_reader_and_not_copied(case: Case) -> None:
    text = " ".join(_plain(samples.FOLDER / (case.source or "")).split()).casefold()
    assert case.question.rstrip("?").casefold() not in text
