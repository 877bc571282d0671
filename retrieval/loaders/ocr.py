"""Text out of pictures of text, by Docling (extra `ocr`): scanned PDFs, and images that are named one by one.

Docling brings torch, and models that it keeps in the folder DOCLING_ARTIFACTS_PATH, or fetches at the first scan. Both
are loaded in the reading process only, and only when there is something to read with them.
"""

from __future__ import annotations

import io
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from aegis.errors import ConfigurationError, UnreadableDocument
from retrieval.loaders.document import Reading
from retrieval.loaders.draft import Draft

INSTALL = "pip install -e '.[ocr]' in AegisRAG's folder (extra `ocr`, some GB)"
MAX_PAGES = 1_000
_MODULES = ("datamodel.base_models", "datamodel.pipeline_options", "document_converter", "exceptions")


def available() -> bool:
    return find_spec("docling") is not None


def read(data: bytes) -> Reading:
    """Raises UnreadableDocument, also where the extra is missing."""
    if not available():
        raise UnreadableDocument(f"Its text stands in pictures, which only OCR can read. To read it: {INSTALL}.")
    return reading_of(_converted(data))


def _converted(data: bytes) -> Any:
    """A `DoclingDocument`."""
    try:
        base, options, converting, errors = (import_module(f"docling.{name}") for name in _MODULES)
    except ImportError as error:
        raise ConfigurationError(f"Docling is not whole ({error}). Install it again: {INSTALL}.") from error
    pipeline = options.PdfPipelineOptions(do_ocr=True)
    formats = {
        base.InputFormat.PDF: converting.PdfFormatOption(pipeline_options=pipeline),
        base.InputFormat.IMAGE: converting.ImageFormatOption(pipeline_options=pipeline),
    }
    name = "scan.pdf" if b"%PDF-" in data[:1024] else "scan.png"  # the bytes decide between kinds of images
    stream = base.DocumentStream(name=name, stream=io.BytesIO(data))
    try:
        converter = converting.DocumentConverter(allowed_formats=list(formats), format_options=formats)
        return converter.convert(stream, max_num_pages=MAX_PAGES).document
    except errors.ConversionError as error:
        raise UnreadableDocument(f"OCR could not read it: {str(error)[:200]}") from error


def reading_of(document: Any) -> Reading:
    """Its blocks in reading order; tables as Markdown, section headers as headings."""
    draft, page, seen = Draft(), None, set[int]()
    for item, _depth in document.iterate_items():
        number = item.prov[0].page_no if item.prov else page
        if number is not None and number != page:
            draft.page(str(number))
            page = number
        text = _text(item, document)
        if text.strip() and page is not None:
            seen.add(page)
        if item.label in ("title", "section_header"):
            draft.heading(getattr(item, "level", 0) + 1, text)
        else:
            draft.add(text)
    count = len(document.pages) or 1
    return Reading(
        text=draft.text,
        pages=tuple(draft.pages),
        headings=tuple(draft.headings),
        page_count=count,
        empty_pages=max(0, count - len(seen)),
        by_ocr=True,
    )


def _text(item: Any, document: Any) -> str:
    return item.export_to_markdown(document) if item.label == "table" else str(getattr(item, "text", ""))
