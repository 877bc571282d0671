"""PDF through PDFium, page by page; lines are joined to paragraphs, the outline gives headings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from statistics import quantiles
from typing import Any

from aegis.errors import TooLarge, UnreadableDocument
from retrieval.loaders.cleaning import clean, one_line
from retrieval.loaders.dates import pdf_date
from retrieval.loaders.document import Reading
from retrieval.loaders.draft import Draft

MAX_PAGES = 10_000
MAX_OUTLINE = 5_000
LEAST_TEXT = 8  # characters that are not blank: a page with fewer holds a page number at most

# PDFium marks a hyphen that only breaks a line with U+FFFE (older: U+0002).
_BROKEN_WORD = re.compile("(?<=[^\\W\\d_])(?:[\ufffe\x02]|[\u2010-](?=\r?\n[a-zß-öø-ÿ]))\r?\n?[ \t]*")
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
    draft, starts, empty = Draft(), list[int](), 0
    for index in range(count):
        text = _page_text(pdf, index)
        starts.append(draft.length)
        if len("".join(text.split())) < LEAST_TEXT:
            empty += 1
        if text.strip():
            draft.page(pdf.get_page_label(index) or str(index + 1))
            draft.add(text)
    if empty == count:
        return Reading("", page_count=count, empty_pages=empty)
    metadata = pdf.get_metadata_dict()
    return Reading(
        text=draft.text,
        title=_title(metadata.get("Title", "")),
        pages=tuple(draft.pages),
        headings=tuple(_headings(pdf, draft.text, starts)),
        dated=pdf_date(metadata.get("ModDate")) or pdf_date(metadata.get("CreationDate")),
        page_count=count,
        empty_pages=empty,
    )


def _page_text(pdf: Any, index: int) -> str:
    import pypdfium2

    try:
        page = pdf[index]
        textpage = page.get_textpage()
        raw = textpage.get_text_bounded()
        textpage.close()
        page.close()
    except pypdfium2.PdfiumError:
        return ""  # a damaged page counts as one without text, and the verdict says so
    return reflowed(raw)


def _title(stated: str) -> str | None:
    title = one_line(stated)
    return None if _NO_TITLE.match(title) else title or None


def reflowed(raw: str) -> str:
    """Lines of a page -> paragraphs: a line that fills the column goes on in the next one."""
    lines = [line.strip() for line in clean(_BROKEN_WORD.sub("", raw)).split("\n")]
    widths = [len(line) for line in lines if line]
    if not widths:
        return ""
    full = quantiles(widths, n=10)[7] if len(widths) > 1 else widths[0]
    return "".join(_joined(lines, full)).strip()


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
