"""PowerPoint, slide by slide: titles as headings, text, tables, and the speaker's notes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from aegis.errors import TooLarge, UnreadableDocument
from retrieval.loaders.archive import xml_parts
from retrieval.loaders.cleaning import one_line
from retrieval.loaders.document import Reading
from retrieval.loaders.docx import properties
from retrieval.loaders.draft import Draft
from retrieval.loaders.rows import Row, write_rows

MAX_SLIDES = 5_000
MAX_DEPTH = 20  # of groups in groups


def read(data: bytes) -> Reading:
    title, dated = properties(xml_parts(data, "PowerPoint file"))
    from pptx import Presentation

    try:
        slides = list(Presentation(io.BytesIO(data)).slides)
    except (KeyError, AttributeError, ValueError) as error:
        raise UnreadableDocument("The PowerPoint file lacks parts that every such file has. Save it again.") from error
    if len(slides) > MAX_SLIDES:
        raise TooLarge(f"The presentation has {len(slides):,} slides, more than {MAX_SLIDES:,}. Split it.")
    draft, empty = Draft(), 0
    for number, slide in enumerate(slides, 1):
        before = draft.length
        draft.page(str(number))
        _slide(draft, slide, number)
        empty += draft.length == before
    return Reading(
        draft.text,
        None if title == "PowerPoint Presentation" else title,
        pages=tuple(draft.pages),
        headings=tuple(draft.headings),
        dated=dated,
        page_count=len(slides),
        empty_pages=empty,
    )


def _slide(draft: Draft, slide: Any, number: int) -> None:
    heading = slide.shapes.title
    if heading is not None and heading.has_text_frame:
        draft.heading(1, heading.text_frame.text)
    for shape in _shapes(slide.shapes, 0):
        if heading is None or shape.shape_id != heading.shape_id:
            _shape(draft, shape, number)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        notes = slide.notes_slide.notes_text_frame.text
        draft.add(f"Notes: {notes}" if notes.strip() else "")


def _shapes(shapes: Any, depth: int) -> Iterator[Any]:
    """In reading order: from top to bottom where places are stated, else as they are stored."""
    for shape in shapes:
        if hasattr(shape, "shapes") and depth < MAX_DEPTH:
            yield from _shapes(shape.shapes, depth + 1)
        else:
            yield shape


def _shape(draft: Draft, shape: Any, number: int) -> None:
    if getattr(shape, "has_table", False):
        start = len(draft.pages)
        write_rows(draft, _rows(shape.table), "")
        del draft.pages[start:]  # rows of a slide are on the slide
        draft.page(str(number))
    elif getattr(shape, "has_chart", False):
        draft.add(_chart(shape.chart))
    elif shape.has_text_frame:
        draft.add("\n".join(filter(None, map(_paragraph, shape.text_frame.paragraphs))))


def _paragraph(paragraph: Any) -> str:
    text = one_line("".join("\n" if each == "\v" else each for each in paragraph.text))
    return f"{'  ' * min(paragraph.level, 8)}- {text}" if text and paragraph.level else text


def _rows(table: Any) -> Iterator[Row]:
    for number, row in enumerate(table.rows, 1):
        yield number, ["" if cell.is_spanned else one_line(cell.text_frame.text) for cell in row.cells]


def _chart(chart: Any) -> str:
    """Its title, categories and series: what a reader of the slide sees."""
    title = chart.chart_title.text_frame.text if chart.has_title and chart.chart_title.has_text_frame else ""
    lines = [one_line(title)]
    try:
        plots = list(chart.plots)
    except ValueError:  # a kind of chart that the library does not know: three-dimensional ones
        plots = []
    for plot in plots:
        names = [one_line(str(name)) for name in plot.categories]
        for series in plot.series:
            values = (
                f"{name}: {value:g}" for name, value in zip(names, series.values, strict=False) if value is not None
            )
            lines.append(f"{one_line(series.name)}: {', '.join(values)}")
    return "\n".join(filter(None, lines))
