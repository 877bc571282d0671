"""What a loader returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class LoadedDocument:
    """`pages`: (start, label) in order; `headings`: (start, level 1-6, heading) in order; offsets in code points."""

    text: str
    title: str
    media_type: str
    pages: tuple[tuple[int, str], ...] = ()
    headings: tuple[tuple[int, int, str], ...] = ()
    verdict: Mapping[str, Any] = field(default_factory=dict[str, Any])
    dated: datetime | None = None


def load(data: bytes, source: str, title: str | None = None) -> LoadedDocument:
    """Raises UnsupportedFormat or UnreadableDocument, each saying what is wrong and what to do."""
    raise NotImplementedError
