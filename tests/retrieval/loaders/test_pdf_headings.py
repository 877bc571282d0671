"""Headings of a PDF, told apart by how they are set: on real files, made by fpdf2 and read by PDFium."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from fpdf import FPDF
from pypdf import PdfReader, PdfWriter, Transformation

from inference.sentences import sentences
from retrieval.loaders import load
from retrieval.loaders.document import LoadedDocument
from retrieval.splitting import split
from samples import FOLDER

TEXT = "Anyone on call may start it without asking. It takes about ten minutes, and the team meets on the next day."
MORE = "After that the team talks about the cause, which nobody is blamed for, and writes down what is to be done next."


def made(draw: Callable[[FPDF], None]) -> LoadedDocument:
    document = FPDF(format="A4")
    document.set_title("Handbook")
    document.set_margins(25, 25, 25)
    document.add_page()
    draw(document)
    return load(bytes(document.output()), "file:///handbook.pdf")


def line(document: FPDF, text: str, size: float = 11, style: str = "", font: str = "Helvetica") -> None:
    document.set_font(font, style, size)
    document.multi_cell(0, 0.6 * size, text, new_x="LMARGIN", new_y="NEXT", align="L")


def headings(loaded: LoadedDocument) -> list[tuple[int, str]]:
    assert all(loaded.text[start : start + len(text)] == text for start, _, text in loaded.headings)
    return [(level, text) for _, level, text in loaded.headings]


@pytest.mark.parametrize("heading", ["Rollback", "Who may begin to take a release back, and when that has to be done"])
@pytest.mark.parametrize(("size", "style"), [(14, ""), (14, "B"), (11, "B")])
def test_a_heading_stands_apart_from_the_paragraph_below(heading: str, size: float, style: str) -> None:
    def draw(document: FPDF) -> None:
        line(document, f"{TEXT} {MORE}")
        line(document, heading, size, style)
        line(document, f"{TEXT} {MORE}")

    loaded = made(draw)
    assert headings(loaded) == [(1, heading)]
    pieces = split(loaded, 40)
    below = next(piece for piece in pieces if heading in piece.text)
    assert below.heading == heading
    said = [below.text[one.start : one.end] for one in sentences(below.text)]
    assert said[0] == heading
    assert said[1] == "Anyone on call may start it without asking."
    assert all(loaded.text[piece.span.start : piece.span.end] == piece.text for piece in pieces)


def test_larger_ones_stand_above_smaller_ones() -> None:
    def draw(document: FPDF) -> None:
        line(document, "Everyone on call", 20, "B")
        line(document, TEXT)
        line(document, "Releases", 14, "B")
        line(document, TEXT)
        line(document, "A heading that is so long that it needs a second line to be read to an end", 14, "B")
        line(document, TEXT)
        line(document, "Of less weight", 11, "B")
        line(document, TEXT)

    loaded = made(draw)
    assert [level for level, _ in headings(loaded)] == [1, 2, 2, 3]
    assert split(loaded, 40)[-1].heading == (
        "Everyone on call > A heading that is so long that it needs a second line to be read to an end > Of less weight"
    )


def test_what_is_only_stressed_is_no_heading() -> None:
    def draw(document: FPDF) -> None:
        line(document, f"{TEXT} {MORE} It is up to the")
        line(document, "captain of the release", style="B")
        line(document, f"whether it goes out. {TEXT}")
        line(document, "Never on a Friday.", style="B")
        line(document, f"{TEXT} {MORE}")

    assert headings(made(draw)) == []


def test_neither_capitals_that_open_a_chapter_nor_code_nor_a_running_head() -> None:
    def draw(document: FPDF) -> None:
        for page in range(4):
            if page:
                document.add_page()
            line(document, f"Northlight Cartography {page + 1}", 16)
            line(document, "A", 30)
            line(document, f"{TEXT} {MORE}")
            line(document, "aegis serve", font="Courier")
            line(document, f"{TEXT} {MORE}")

    assert headings(made(draw)) == []


def test_sizes_are_those_that_a_reader_sees() -> None:
    """Many programs set each font at one size and scale what they draw."""
    heading, text = FPDF(format="A4"), FPDF(format="A4")
    for document in (heading, text):
        document.add_page()
    heading.set_y(160)
    line(heading, "Rollback", 11)
    text.set_y(180)
    line(text, f"{TEXT} {MORE}", 11)
    writer = PdfWriter()
    page = writer.add_page(PdfReader(io.BytesIO(bytes(heading.output()))).pages[0])
    page.add_transformation(Transformation().scale(1.5))
    page.merge_page(PdfReader(io.BytesIO(bytes(text.output()))).pages[0])
    written = io.BytesIO()
    writer.write(written)

    assert headings(load(written.getvalue(), "file:///a.pdf")) == [(1, "Rollback")]


@pytest.mark.parametrize("name", ["release-handbook", "http-interface", "ingestion", "ollama-and-models"])
def test_the_samples_are_read_with_every_heading(name: str) -> None:
    source = (FOLDER.parent / "sources" / f"{name}.md").read_text("utf-8").splitlines()
    wanted = [text.lstrip("# ") for text in source if text.startswith("#")]

    loaded = load((FOLDER / f"{name}.pdf").read_bytes(), f"file:///{name}.pdf")

    assert [text for _, text in headings(loaded)] == wanted
