"""Slides, sheets, mail, notebooks, books, records: each with what a citation needs, within bounds."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from email.message import EmailMessage
from typing import Any

import pytest

from aegis.errors import AegisError, TooLarge, UnreadableDocument
from retrieval.loaders import LoadedDocument, load
from retrieval.loaders import rows as bounds
from retrieval.loaders.formats import supported_extensions


def pages(loaded: LoadedDocument) -> dict[str, str]:
    """Text by label."""
    ends = [start for start, _ in loaded.pages[1:]] + [len(loaded.text)]
    return {label: loaded.text[start:end].strip() for (start, label), end in zip(loaded.pages, ends, strict=True)}


def true_headings(loaded: LoadedDocument) -> list[str]:
    assert all(loaded.text[start:].startswith(text) for start, _, text in loaded.headings)
    return [text for _, _, text in loaded.headings]


def zipped(members: dict[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            stored = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED  # as both standards ask
            archive.writestr(name, data, stored)
    return out.getvalue()


def test_presentation() -> None:
    from pptx import Presentation
    from pptx.util import Inches

    deck: Any = Presentation()
    first: Any = deck.slides.add_slide(deck.slide_layouts[1])
    first.shapes.title.text = "Fleet report"
    first.placeholders[1].text = "Three ships sail"
    first.notes_slide.notes_text_frame.text = "Mention the Aurora"
    second: Any = deck.slides.add_slide(deck.slide_layouts[5])
    second.shapes.title.text = "Crew"
    table = second.shapes.add_table(2, 2, Inches(1), Inches(2), Inches(4), Inches(1)).table
    for place, text in enumerate(("Ship", "Captain", "Aurora", "Lund")):
        table.cell(place // 2, place % 2).text = text
    out = io.BytesIO()
    deck.save(out)
    loaded = load(out.getvalue(), "fleet.pptx")
    assert pages(loaded) == {
        "1": "Fleet report\n\nThree ships sail\n\nNotes: Mention the Aurora",
        "2": "Crew\nShip: Aurora | Captain: Lund",
    }
    assert true_headings(loaded) == ["Fleet report", "Crew"]


def test_workbook_rows_carry_their_columns_and_numbers() -> None:
    from openpyxl import Workbook

    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Ships"
    for row in (["Name", "Built", "Tons"], ["Aurora", 1998, 12.5], [], ["Port", "Berths"], ["Oslo", 4]):
        sheet.append(row)
    book.create_sheet("Empty")
    hidden = book.create_sheet("Hidden")
    hidden.append(["secret"])
    hidden.sheet_state = "hidden"
    out = io.BytesIO()
    book.save(out)
    loaded = load(out.getvalue(), "ships.xlsx")
    assert pages(loaded) == {
        "Ships": "Ships",
        "Ships, row 2": "Name: Aurora | Built: 1998 | Tons: 12.5",
        "Ships, row 5": "Port: Oslo | Berths: 4",
    }


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separated_values(separator: str) -> None:
    text = '\ufeffName,Note\nAurora,"two\nlines"\nBore,x\n'.replace(",", separator)
    loaded = load(text.encode(), "ships.csv")
    assert pages(loaded) == {"row 2": "Name: Aurora | Note: two lines", "row 3": "Name: Bore | Note: x"}
    assert loaded.media_type == "text/csv"


def test_numbers_are_no_header() -> None:
    assert load(b"1,2\n3,4\n", "n.csv").text == "1 | 2\n3 | 4"


def test_tables_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_ROWS", 10)
    with pytest.raises(TooLarge, match="more than 10 rows"):
        load(b"a,b\n" * 11, "big.csv")


def test_mail_with_attachments_and_a_message_within() -> None:
    inner = EmailMessage()
    inner["Subject"], inner["From"] = "Old news", "c@example.org"
    inner.set_content("It rained.")
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["Date"] = "Harbour", "a@example.org", "Mon, 06 May 2024 10:00:00 +0200"
    mail.set_content("The harbour opens at six.")
    mail.add_alternative("<p>HTML twin</p>", subtype="html")
    mail.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="plan.pdf")
    mail.add_attachment(inner)
    loaded = load(bytes(mail), "harbour.eml")
    found = pages(loaded)
    assert loaded.title == "Harbour"
    assert loaded.dated is not None
    assert loaded.dated.isoformat() == "2024-05-06T08:00:00+00:00"
    assert "The harbour opens at six." in found["message"]
    assert "Attachment: plan.pdf (application/pdf)" in found["message"]
    assert "HTML twin" not in loaded.text
    assert "It rained." in found["attached message 1"]
    assert true_headings(loaded) == ["Harbour", "Old news"]


def test_messages_within_messages_end() -> None:
    mail = EmailMessage()
    mail["Subject"] = "0"
    mail.set_content("innermost")
    for level in range(1, 12):
        outer = EmailMessage()
        outer["Subject"] = str(level)
        outer.set_content("wrapped")
        outer.add_attachment(mail)
        mail = outer
    loaded = load(bytes(mail), "deep.eml")
    assert "not read" in loaded.text
    assert "innermost" not in loaded.text


def test_restructured_text() -> None:
    text = """Guide
=====

Ask :py:func:`~open_port` first; see :ref:`the map <map>`.

Install
-------

.. versionadded:: 2.0
   The engine is new.

.. include:: /etc/hostname

.. code-block:: python

   open_port(8000)
"""
    loaded = load(text.encode(), "guide.rst")
    assert true_headings(loaded)[0] == "Guide"
    for part in ("Ask open_port first; see the map.", "The engine is new.", "open_port(8000)"):
        assert part in loaded.text
    assert "include" not in loaded.text


def test_notebook() -> None:
    notebook = {
        "cells": [
            {"cell_type": "markdown", "source": ["# Tides\n", "High at noon."]},
            {"cell_type": "code", "source": "print(6)", "outputs": [{"output_type": "stream", "text": ["6\n"]}]},
            {"cell_type": "code", "source": "1/0", "outputs": [{"output_type": "error", "evalue": "division"}]},
        ],
        "nbformat": 4,
    }
    loaded = load(json.dumps(notebook).encode(), "tides.ipynb")
    assert pages(loaded) == {"cell 1": "Tides\n\nHigh at noon.", "cell 2": "print(6)\n\n6", "cell 3": "1/0"}
    assert true_headings(loaded) == ["Tides"]


def test_json_records_and_lines() -> None:
    records = [{"ship": "Aurora", "crew": {"captain": "Lund", "size": 12}}, {"ship": "Bore", "ports": ["Oslo", "Kiel"]}]
    wanted = ["ship: Aurora | crew.captain: Lund | crew.size: 12", "ship: Bore | ports: Oslo, Kiel"]
    assert list(pages(load(json.dumps(records).encode(), "a.json")).values()) == wanted
    lines = "\n".join(map(json.dumps, records))
    assert pages(load(lines.encode(), "a.jsonl")) == {"line 1": wanted[0], "line 2": wanted[1]}


@pytest.mark.parametrize("wrong", [b'{"a": }', b"[1, 2", b"NaN", b"[" * 100_000, b'{"a": ' * 200 + b"1" + b"}" * 200])
def test_what_is_no_json_is_refused(wrong: bytes) -> None:
    with pytest.raises(UnreadableDocument):
        load(wrong, "a.json")


def test_book() -> None:
    container = '<container><rootfiles><rootfile full-path="OPS/c.opf"/></rootfiles></container>'
    package = """<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">
    <metadata><dc:title>Sea tales</dc:title><dc:date>2020-02-03</dc:date></metadata>
    <manifest><item id="b" href="b.xhtml"/><item id="a" href="a%20one.xhtml"/></manifest>
    <spine><itemref idref="a"/><itemref idref="b"/><itemref idref="missing"/></spine></package>"""
    book = zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": container,
            "OPS/c.opf": package,
            "OPS/b.xhtml": "<html><body><h1>Storm</h1><p>It blew.</p></body></html>",
            "OPS/a one.xhtml": "<html><body><h1>Calm</h1><p>No wind.</p></body></html>",
        }
    )
    loaded = load(book, "sea.epub")
    assert loaded.title == "Sea tales"
    assert pages(loaded) == {"section 1": "Calm\n\nNo wind.", "section 2": "Storm\n\nIt blew."}
    assert true_headings(loaded) == ["Calm", "Storm"]


def odf(kind: str, body: str) -> bytes:
    spaces = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "text", "table")
    )
    content = f"<office:document-content {spaces}><office:body>{body}</office:body></office:document-content>"
    return zipped({"mimetype": f"application/vnd.oasis.opendocument.{kind}", "content.xml": content})


def test_opendocument_text_and_sheets() -> None:
    text = '<office:text><text:h text:outline-level="2">Wind</text:h><text:p>North<text:s/>west</text:p></office:text>'
    loaded = load(odf("text", text), "wind.odt")
    assert loaded.text == "Wind\n\nNorth west"
    assert loaded.headings == ((0, 2, "Wind"),)

    def row(*cells: str, more: str = "") -> str:
        made = "".join(f"<table:table-cell><text:p>{cell}</text:p></table:table-cell>" for cell in cells)
        return f"<table:table-row {more}>{made}</table:table-row>"

    empty = row("", more='table:number-rows-repeated="1048000"')
    table = f'<table:table table:name="T">{row("A", "B")}{row("x", "y")}{empty}</table:table>'
    sheet = f"<office:spreadsheet>{table}</office:spreadsheet>"
    assert pages(load(odf("spreadsheet", sheet), "t.ods")) == {"T": "T", "T, row 2": "A: x | B: y"}


@pytest.mark.parametrize("name", ["a.pptx", "a.xlsx", "a.odt", "a.epub"])
def test_zip_bombs_are_refused(name: str) -> None:
    kinds = {"a.pptx": "ppt/presentation.xml", "a.xlsx": "xl/workbook.xml", "a.odt": "content.xml", "a.epub": "a.xhtml"}
    mimetype = {"a.odt": "application/vnd.oasis.opendocument.text", "a.epub": "application/epub+zip"}
    members: dict[str, str | bytes] = {"mimetype": mimetype[name]} if name in mimetype else {}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(kinds[name], bytes(61_000_000), zipfile.ZIP_DEFLATED)
    with pytest.raises(TooLarge, match="unpacks to"):
        load(out.getvalue(), name)


@pytest.mark.parametrize("extension", [".eml", ".csv", ".rst", ".ipynb", ".json", ".jsonl"])
def test_any_text_is_read_or_refused(extension: str) -> None:
    for text in ("", "\n", "x", "::\n\n..", '"', "\0", "a,b\n" * 3, ".. raw:: html\n\n   <b>x</b>", "From: a\n\nb"):
        with contextlib.suppress(AegisError):
            assert load(text.encode(), f"a{extension}").text.strip()


def test_folders_are_searched_for_all_of_them() -> None:
    wanted = ".pptx .xlsx .csv .rst .eml .epub .ipynb .json .jsonl .odt .ods .odp"
    assert set(wanted.split()) <= supported_extensions()
