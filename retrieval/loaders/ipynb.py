"""Jupyter notebooks, cell by cell: text, code, and the text of what the code printed."""

from __future__ import annotations

from typing import Any

from aegis.errors import TooLarge, UnreadableDocument
from retrieval.loaders import markdown
from retrieval.loaders.document import Reading
from retrieval.loaders.draft import Draft
from retrieval.loaders.json import parsed

MAX_CELLS = 20_000
MAX_OUTPUT = 2_000  # characters of one output


def read(data: bytes) -> Reading:
    notebook = parsed(data)
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise UnreadableDocument("The file is no notebook of format 4 (it has no cells). Save it again in Jupyter.")
    if len(cells) > MAX_CELLS:
        raise TooLarge(f"The notebook has {len(cells):,} cells, more than {MAX_CELLS:,}. Split it.")
    draft = Draft()
    for number, cell in enumerate(cells, 1):
        if isinstance(cell, dict):
            draft.page(f"cell {number}")
            _cell(draft, cell)
    return Reading(draft.text, pages=tuple(draft.pages), headings=tuple(draft.headings))


def _cell(draft: Draft, cell: dict[str, Any]) -> None:
    source = _joined(cell.get("source"))
    if cell.get("cell_type") == "markdown":
        draft.take(markdown.read_text(source))
    else:
        draft.add(source)
    outputs = cell.get("outputs")
    for output in outputs if isinstance(outputs, list) else ():
        if isinstance(output, dict):
            draft.add(_output(output)[:MAX_OUTPUT])


def _output(output: dict[str, Any]) -> str:
    """What was printed or shown as text; an error's message is no content, so it is left out."""
    data = output.get("data")
    return _joined(data.get("text/plain")) if isinstance(data, dict) else _joined(output.get("text"))


def _joined(value: Any) -> str:
    if isinstance(value, list):
        return "".join(part for part in value if isinstance(part, str))
    return value if isinstance(value, str) else ""
