"""Questions to go on with: from headings of passages that were found but not cited. No model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aegis.scope import Scope
from agents.state import State
from retrieval.chunk import Chunk

MOST = 3
LOOKED_AT = 12
_LONGEST = 70
# Headings that name a place in a document rather than a subject.
_PLACES = re.compile(
    r"^(?:introduction|overview|summary|contents|table of contents|abstract|references|appendix|conclusions?|notes?|"
    r"see also|example|examples|usage|background|further reading|changelog|index|readme|chapter|section|part|page)\b",
    re.I,
)
_ENGLISH = re.compile(r"\b(?:the|is|are|was|what|how|who|which|when|where|why|does|do|did|can|of|in|to)\b", re.I)


class Chunks(Protocol):
    async def chunks(self, scope: Scope, ids: Sequence[str]) -> list[Chunk]: ...


@dataclass(frozen=True)
class FollowUps:
    chunks: Chunks

    async def __call__(self, scope: Scope, state: State) -> list[str]:
        """At most MOST; none after an abstention, small talk, or a question in another language than the phrases'."""
        question = state.get("standalone", "")
        if state.get("abstained") or not state.get("citations") or not _ENGLISH.search(question):
            return []
        cited = {citation["chunk_id"] for citation in state.get("citations", ())}
        ids = [hit["chunk_id"] for hit in state.get("found", ())][:LOOKED_AT]
        chunks = await self.chunks.chunks(scope, ids)
        known = {_heading(chunk).lower() for chunk in chunks if chunk.id in cited} | {question.lower()}
        return questions([chunk for chunk in chunks if chunk.id not in cited], known)


def questions(chunks: Sequence[Chunk], known: set[str]) -> list[str]:
    asked: dict[str, str] = {}
    for chunk in chunks:
        heading = _heading(chunk)
        if heading.lower() not in known and _is_subject(heading):
            asked.setdefault(heading.lower(), _question(heading, chunk.title))
    return list(asked.values())[:MOST]


def _heading(chunk: Chunk) -> str:
    """The innermost heading, without its number."""
    last = (chunk.heading or chunk.title).rsplit(" > ", 1)[-1]
    return re.sub(r"^[\dIVX]+(?:\.\d+)*[.)]?\s+", "", last).strip(" #*:")


def _is_subject(heading: str) -> bool:
    return 3 <= len(heading) <= _LONGEST and any(map(str.isalpha, heading)) and not _PLACES.match(heading)


def _question(heading: str, title: str) -> str:
    if heading.endswith("?"):
        return heading
    if heading.lower() in title.lower():
        return f"What does “{title}” say?" if len(title) <= _LONGEST else f"What is said about “{heading}”?"
    return (
        f"What does “{title}” say about “{heading}”?" if len(title) <= _LONGEST else f"What is said about “{heading}”?"
    )
