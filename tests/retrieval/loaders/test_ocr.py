"""Scans and pictures: refused with the command that helps, or read by Docling where it is installed.

Docling itself brings torch and models: its test runs where the extra is installed and DOCLING_ARTIFACTS_PATH names the
models (or they can be fetched), and is skipped by name elsewhere.
"""

from __future__ import annotations

import io
from typing import Any

import pytest
from fpdf import FPDF

from aegis.errors import AegisError, UnreadableDocument, UnsupportedFormat
from retrieval.loaders import formats, load, ocr
from retrieval.loaders.document import Reading
from retrieval.loaders.ocr import INSTALL, reading_of
from tests.retrieval.loaders.test_load import pdf

PNG = b"\x89PNG\r\n\x1a\n" + bytes(50)


@pytest.mark.parametrize(
    ("name", "data", "error"), [("scan.pdf", pdf("", ""), UnreadableDocument), ("page.png", PNG, UnsupportedFormat)]
)
def test_without_the_extra_the_refusal_names_the_command(
    name: str, data: bytes, error: type[AegisError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ocr, "available", lambda: False)
    with pytest.raises(error) as caught:
        load(data, name)
    assert INSTALL in caught.value.message
    assert name in caught.value.message


@pytest.mark.parametrize(
    ("name", "data", "read"),
    [
        ("scan.pdf", pdf("", ""), True),
        ("page.png", PNG, True),
        ("half.pdf", pdf("There is text on this page.", ""), False),  # taken as it is, and marked
        ("note.txt", b"Just text.", False),
    ],
)
def test_what_goes_to_ocr(name: str, data: bytes, read: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    given = list[bytes]()

    def noted(received: bytes) -> Reading:
        given.append(received)
        return Reading("What stood in the picture.", pages=((0, "1"),), page_count=1, by_ocr=True)

    monkeypatch.setattr(ocr, "available", lambda: True)
    monkeypatch.setattr(ocr, "read", noted)
    loaded = load(data, name)
    assert given == ([data] if read else [])
    assert ("OCR" in loaded.verdict.get("warning", "")) is read  # told beside every citation


def test_a_scan_without_words_is_refused_also_by_ocr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "available", lambda: True)
    monkeypatch.setattr(ocr, "read", _blind)
    with pytest.raises(UnreadableDocument, match="not even by OCR"):
        load(pdf("", ""), "scan.pdf")


def _blind(_data: bytes) -> Reading:
    return Reading("", page_count=2, empty_pages=2, by_ocr=True)


def test_a_converted_document_keeps_pages_headings_and_tables() -> None:
    types: Any = pytest.importorskip("docling_core.types.doc", reason="docling-core is not installed (extra `ocr`)")
    document = types.DoclingDocument(name="scan")
    for number in (1, 2, 3):
        document.add_page(page_no=number, size=types.Size(width=100, height=100))

    def at(page: int) -> Any:
        box = types.BoundingBox(l=0, t=0, r=1, b=1)
        return types.ProvenanceItem(page_no=page, bbox=box, charspan=(0, 1))

    document.add_heading("Terms", level=1, prov=at(1))
    document.add_text(types.DocItemLabel.TEXT, "The notice period is three months.", prov=at(1))
    cells = [
        types.TableCell(
            text=text,
            start_row_offset_idx=row,
            end_row_offset_idx=row + 1,
            start_col_offset_idx=column,
            end_col_offset_idx=column + 1,
        )
        for row, line in enumerate((("Fee", "Amount"), ("Late", "40")))
        for column, text in enumerate(line)
    ]
    document.add_table(types.TableData(num_rows=2, num_cols=2, table_cells=cells), prov=at(3))
    reading = reading_of(document)
    assert "The notice period is three months." in reading.text
    assert [label for _, label in reading.pages] == ["1", "3"]
    assert [(level, text) for _, level, text in reading.headings] == [(2, "Terms")]
    assert "| Late" in reading.text[reading.pages[1][0] :]
    assert (reading.page_count, reading.empty_pages) == (3, 1)


def test_docling_reads_a_scan() -> None:
    pytest.importorskip("docling", reason="the extra `ocr` is not installed")
    loaded = load(_scanned("The notice period is three months."), "scan.pdf")
    assert "notice period" in loaded.text
    assert "OCR" in loaded.verdict["warning"]


def _scanned(text: str) -> bytes:
    """A PDF whose page is a picture of the text."""
    import pypdfium2

    written = FPDF()
    written.set_font("Helvetica", size=20)
    written.add_page()
    written.multi_cell(0, 12, text)
    with pypdfium2.PdfDocument(bytes(written.output())) as document:
        picture: Any = document[0].render(scale=2).to_pil()
    out = io.BytesIO()
    picture.save(out, format="PNG")
    made = FPDF()
    made.add_page()
    made.image(out, 0, 0, 210)
    return bytes(made.output())


def test_pictures_are_not_looked_for_in_folders() -> None:
    assert ".png" not in formats.supported_extensions()
