"""Documents and their text."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from api.schemas import Answer, Body


class DocumentAnswer(Answer):
    id: str
    collection: str
    source: str
    title: str
    media_type: str
    version_id: str
    content_hash: str
    chars: int
    chunks: int
    verdict: dict[str, Any]
    tags: list[str]
    dated: datetime | None
    indexed_at: datetime
    private: bool


class DocumentPatch(Body):
    private: Annotated[bool, Field(description="Nothing of it leaves this machine, whatever the settings allow")]


class DocumentsAnswer(Answer):
    documents: list[DocumentAnswer]
    next: str | None


class TextAnswer(Answer):
    """`text` is the part from `start` to `end`; `chars` the length of the whole, in code points."""

    document_id: str
    version_id: str
    start: int
    end: int
    chars: int
    text: str
