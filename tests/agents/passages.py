"""Chunks in memory and a runtime, for testing nodes one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from langgraph.runtime import Runtime

from aegis.scope import Scope, Span
from agents.ground import Meanings
from agents.state import Context, Found, State
from retrieval.chunk import Chunk
from retrieval.embedding.wordllama import load_wordllama
from retrieval.interaction import MaxSim
from retrieval.tables import NEVER

PREFIX = "Preface. "  # so that no chunk starts at 0


@dataclass
class Documents:
    """A catalogue of one-chunk documents: title -> text."""

    texts: dict[str, str]
    collection: str = "default"

    @property
    def all(self) -> dict[str, Chunk]:
        return {f"c{i}": self._chunk(i, title) for i, title in enumerate(self.texts, start=1)}

    async def chunks(self, scope: Scope, ids: Sequence[str]) -> list[Chunk]:
        known = self.all
        return [known[i] for i in ids if i in known and scope.may_read(self.collection)]

    def document_text(self, document_id: str) -> str:
        return PREFIX + next(self.texts[c.title] for c in self.all.values() if c.document_id == document_id)

    def state(self, question: str, **rest: Any) -> State:
        found = [
            Found(chunk_id=chunk.id, document_id=chunk.document_id, title=chunk.title, score=1 / i, via=[])
            for i, chunk in enumerate(self.all.values(), start=1)
        ]
        return {"question": question, "standalone": question, "found": found, **rest}  # type: ignore[typeddict-item]

    def _chunk(self, i: int, title: str) -> Chunk:
        text = self.texts[title]
        span = Span(len(PREFIX), len(PREFIX) + len(text))
        return Chunk(
            f"c{i}", f"d{i}", f"v{i}", self.collection, f"{title}.md", title, 0, span, text, None, None, 1, NEVER
        )


@dataclass
class Run:
    """A runtime whose streamed values are kept."""

    user: str = "local"
    collections: tuple[str, ...] = ("default",)
    streamed: list[Any] = field(default_factory=list[Any])

    @property
    def runtime(self) -> Runtime[Context]:
        context = Context(user=self.user, collections=self.collections)
        return Runtime(context=context, stream_writer=self.streamed.append)

    @property
    def text(self) -> str:
        return "".join(item["text"] for item in self.streamed)


def static_meanings() -> Meanings:
    """Of words and sentences, by the real static vectors."""
    static = load_wordllama()
    return Meanings(static.embed, MaxSim(static.word_vectors).nearest)
