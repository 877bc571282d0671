"""PDF through PDFium, page by page: lines joined to paragraphs, headings by the outline and by how they are set."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from statistics import quantiles
from typing import Any

from aegis.errors import TooLarge, UnreadableDocument
from retrieval.loaders.cleaning import one_line
from retrieval.loaders.dates import pdf_date
from retrieval.loaders.document import Reading
from retrieval.loaders.draft import Draft
from retrieval.loaders.pdf_headings import Block, blocks
from retrieval.loaders.pdf_lines import Line, lines_of

MAX_PAGES = 10_000
MAX_OUTLINE = 5_000
LEAST_TEXT = 8  # characters that are not blank: a page with fewer holds a page number at most

_NEW_ITEM = re.compile(r"(?:[•▪◦‣●–—*-]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])\s")
_SENTENCE_END = re.compile(r"[.!?:;。！？][\"'”’)\]]*$")
_NO_TITLE = re.compile(r"^(untitled.*|microsoft word\b.*|.*\.(docx?|tex|dvi|indd|pptx?|xlsx?|qxd|odt|fm|pmd))$", re.I)


def read(data: bytes) -> Reading:
    import pypdfium2

    try:
        pdf = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        raise _unopened(error) from error
    with pdf:
        return _read(pdf)


def _unopened(error: Exception) -> UnreadableDocument:
    if "password" in str(error).lower():
        return UnreadableDocument("The PDF is protected by a password. Remove the password and take it in again.")
    return UnreadableDocument(f"The PDF is damaged or not a PDF ({error}). Export it again.")


def _read(pdf: Any) -> Reading:
    count = len(pdf)
    if count == 0:
        raise UnreadableDocument("The PDF has no pages.")
    if count > MAX_PAGES:
        raise TooLarge(f"The PDF has {count:,} pages, more than {MAX_PAGES:,}. Split it.", limit=MAX_PAGES)
    draft, starts = Draft(), list[int]()
    pages = [_lines(pdf, index) for index in range(count)]
    empty = sum(_is_empty(lines) for lines in pages)
    if empty == count:
        return Reading("", page_count=count, empty_pages=empty)
    for index, found in enumerate(blocks(pages)):
        starts.append(draft.length)
        if any(line.text for line in pages[index]):
            draft.page(pdf.get_page_label(index) or str(index + 1))
            _add(draft, found)
    metadata = pdf.get_metadata_dict()
    return Reading(
        text=draft.text,
        title=_title(metadata.get("Title", "")),
        pages=tuple(draft.pages),
        headings=_together(list(_headings(pdf, draft.text, starts)), draft.headings),
        dated=pdf_date(metadata.get("ModDate")) or pdf_date(metadata.get("CreationDate")),
        page_count=count,
        empty_pages=empty,
    )


def _lines(pdf: Any, index: int) -> list[Line]:
    import pypdfium2

    try:
        page = pdf[index]
        textpage = page.get_textpage()
        lines = lines_of(textpage)
        textpage.close()
        page.close()
    except pypdfium2.PdfiumError:
        return []  # a damaged page counts as one without text, and the verdict says so
    return lines


def _is_empty(lines: Sequence[Line]) -> bool:
    return sum(len("".join(line.text.split())) for line in lines) < LEAST_TEXT


def _add(draft: Draft, found: Sequence[Block]) -> None:
    full = _full([line.text for block in found if not block.level for line in block.lines])
    for block in found:
        if block.level:
            draft.heading(block.level, block.text)
        else:
            draft.add("".join(_joined([line.text for line in block.lines], full)).strip())


def _title(stated: str) -> str | None:
    title = one_line(stated)
    return None if _NO_TITLE.match(title) else title or None


def _full(lines: Sequence[str]) -> float:
    """How long a line is that fills the column: such a one goes on in the next."""
    widths = [len(line) for line in lines if line]
    return quantiles(widths, n=10)[7] if len(widths) > 1 else sum(widths)


def _joined(lines: Sequence[str], full: float) -> Iterator[str]:
    previous = ""
    for line in lines:
        if line and previous:
            yield _gap(previous, line, full)
        elif previous:
            yield "\n\n"
        yield line
        previous = line


def _gap(line: str, following: str, full: float) -> str:
    ended = _SENTENCE_END.search(line) is not None
    if ended and len(line) < 0.85 * full:
        return "\n\n"
    if _NEW_ITEM.match(following) or len(line) < 0.6 * full or full < 20:
        return "\n"
    return " "


def _together(
    outline: Sequence[tuple[int, int, str]], seen: Sequence[tuple[int, int, str]]
) -> tuple[tuple[int, int, str], ...]:
    """The outline says which heading stands below which; what only its looks give away stands below all of these."""
    deepest = max((level for _, level, _ in outline), default=0)
    taken = {place for start, _, title in outline for place in range(start, start + len(title))}
    further = [(start, min(6, deepest + level), title) for start, level, title in seen if start not in taken]
    return tuple(sorted([*outline, *further]))


def _headings(pdf: Any, text: str, starts: Sequence[int]) -> Iterator[tuple[int, int, str]]:
    """Outline entries whose words stand on the page they point to; in order, each place once."""
    found = dict[int, tuple[int, int, str]]()
    for number, (page, level, title) in enumerate(_outline(pdf)):
        if number >= MAX_OUTLINE:
            break
        if not title or page is None or not 0 <= page < len(starts):
            continue
        start = starts[page]
        end = starts[page + 1] if page + 1 < len(starts) else len(text)
        place = re.compile(r"\s+".join(map(re.escape, title.split())), re.I).search(text, start, end)
        if place:
            found.setdefault(place.start(), (place.start(), min(level + 1, 6), title))
    yield from sorted(found.values())


def _outline(pdf: Any) -> Iterator[tuple[int | None, int, str]]:
    for entry in pdf.get_toc():
        target = entry.get_dest()
        yield (target.get_index() if target else None), entry.level, one_line(entry.get_title())[:300]
