"""Text -> chunks that respect structure, with exact spans."""

from __future__ import annotations

from dataclasses import dataclass

from aegis.scope import Span
from retrieval.loaders.document import LoadedDocument


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk before it has an id. `text == document.text[span.start:span.end]`; heading is the path, ' > ' between."""

    span: Span
    text: str
    page: str | None
    heading: str | None


def split(document: LoadedDocument, tokens: int) -> list[Piece]:
    raise NotImplementedError
