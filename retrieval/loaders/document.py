"""What a loader returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class LoadedDocument:
    """`pages`: (start, label) in order; `headings`: (start, level 1-6, heading) in order; offsets in code points.

    `verdict` is empty when nothing is wrong with the text; otherwise `warning` says what, beside the figures.
    """

    text: str
    title: str
    media_type: str
    pages: tuple[tuple[int, str], ...] = ()
    headings: tuple[tuple[int, int, str], ...] = ()
    verdict: Mapping[str, Any] = field(default_factory=dict[str, Any])
    dated: datetime | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What one format's reader found. `title` only if the document itself states one.

    `page_count` and `empty_pages` count pages as the format has them, those without text included.
    """

    text: str
    title: str | None = None
    pages: tuple[tuple[int, str], ...] = ()
    headings: tuple[tuple[int, int, str], ...] = ()
    dated: datetime | None = None
    page_count: int = 0
    empty_pages: int = 0
    by_ocr: bool = False
