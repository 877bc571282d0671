"""Makes the PDF and DOCX samples from `sources/*.md`; run `python -m samples.make` after changing a source.

The same source always gives the same bytes: times inside the files are fixed. Needs the `test` dependency group.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from samples import FOLDER

SOURCES = Path(__file__).parent / "sources"
PDFS = ("http-interface", "ingestion", "ollama-and-models", "release-handbook")
DOCXS = ("deployment-profiles", "embeddings-and-bm25", "team-handbook")
WRITTEN = datetime(2026, 1, 1, tzinfo=UTC)

Kind = Literal["title", "heading", "item", "paragraph"]
MARKS: tuple[tuple[str, Kind], ...] = (("# ", "title"), ("## ", "heading"), ("- ", "item"))


@dataclass(frozen=True, slots=True)
class Block:
    kind: Kind
    text: str


def blocks(source: str) -> Iterator[Block]:
    """Titles, headings, list items and paragraphs; a paragraph is one line of the source."""
    for line in filter(None, map(str.strip, source.splitlines())):
        for mark, kind in MARKS:
            if line.startswith(mark):
                yield Block(kind, line.removeprefix(mark))
                break
        else:
            yield Block("paragraph", line)


def pdf(source: str) -> bytes:
    """Core fonts only, so the source must be Latin-1."""
    from fpdf import FPDF

    document = FPDF(format="A4")
    document.set_creation_date(WRITTEN)
    document.set_margins(25, 25, 25)
    document.set_auto_page_break(True, margin=25)
    document.add_page()
    styles = {"title": ("B", 20, 10), "heading": ("B", 14, 8), "item": ("", 11, 6), "paragraph": ("", 11, 6)}
    for block in blocks(source):
        style, size, height = styles[block.kind]
        if block.kind == "title":
            document.set_title(block.text)
        document.set_font("Helvetica", style, size)
        text = f"- {block.text}" if block.kind == "item" else block.text
        document.multi_cell(0, height, text, new_x="LMARGIN", new_y="NEXT", align="L")
        document.ln(3)
    return bytes(document.output())


def docx(source: str) -> bytes:
    from docx import Document

    document = Document()
    properties = document.core_properties
    properties.author, properties.created, properties.modified = "AegisRAG contributors", WRITTEN, WRITTEN
    for block in blocks(source):
        if block.kind == "title":
            properties.title = block.text
            document.add_heading(block.text, 1)
        elif block.kind == "heading":
            document.add_heading(block.text, 2)
        else:
            document.add_paragraph(block.text, style="List Bullet" if block.kind == "item" else None)
    packed = io.BytesIO()
    document.save(packed)
    return _without_times(packed.getvalue())


def _without_times(archive: bytes) -> bytes:
    """The same zip with fixed times, so that equal sources give equal files."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as new:
        for name in sorted(old.namelist(), key=lambda name: (name != "[Content_Types].xml", name)):
            new.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), old.read(name), zipfile.ZIP_DEFLATED)
    return result.getvalue()


def main(folder: Path = FOLDER) -> list[Path]:
    """Write all of them into `folder`; returns what was written."""
    written: list[Path] = []
    for names, suffix, make in ((PDFS, ".pdf", pdf), (DOCXS, ".docx", docx)):
        for name in names:
            target = folder / f"{name}{suffix}"
            target.write_bytes(make((SOURCES / f"{name}.md").read_text("utf-8")))
            written.append(target)
    return written


if __name__ == "__main__":
    main()
