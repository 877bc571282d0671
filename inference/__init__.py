"""Chat models: what writes an answer from passages. Adapters: `ollama.py`, `extractive.py`; `routing.py` chooses."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Passage:
    """Evidence for one answer. `marker` is its number in citations; `start` its offset in the document's text."""

    marker: int
    chunk_id: str
    title: str
    text: str
    start: int
    score: float
    heading: str | None = None


@dataclass(frozen=True, slots=True)
class ChatMessage:
    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """`messages` is what a language model sees; the extractive writer reads `question` and `passages` only."""

    question: str
    passages: Sequence[Passage]
    messages: Sequence[ChatMessage] = field(default_factory=list[ChatMessage])
    max_sentences: int = 3


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of an answer as it is written. The last piece may be empty and carries the counts.

    `note` is what the reader should know about how the answer came about; it is no part of the answer.
    """

    text: str
    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    note: str = ""


class Writer(Protocol):
    """Port of a chat model. Raises ModelUnavailable before the first piece, ModelFailed after it."""

    @property
    def name(self) -> str: ...

    def write(self, request: WriteRequest) -> AsyncGenerator[Piece]:
        """Pieces as they come. Closing the generator stops the model at its server."""
        ...
