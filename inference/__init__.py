"""Chat models: what writes an answer from passages. Adapters: `ollama.py`, `openai.py`, `extractive.py`.

`pool.py` takes servers together, `routing.py` chooses between pools, `budgets.py` keeps what is spent within bounds.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

from aegis.settings import ModelRole

if TYPE_CHECKING:
    from inference.prices import Price

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


class Unwritten(Sequence[ChatMessage]):
    """Messages that are made when a model is asked: without one, nobody reads them."""

    def __init__(self, make: Callable[[], Sequence[ChatMessage]]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> Sequence[ChatMessage]:
        return self._make()

    @overload
    def __getitem__(self, place: int) -> ChatMessage: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[ChatMessage]: ...
    def __getitem__(self, place: int | slice) -> ChatMessage | Sequence[ChatMessage]:
        return self._made[place]

    def __len__(self) -> int:
        return len(self._made)


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """`messages` is what a language model sees; the extractive writer reads `question` and `passages` only."""

    question: str
    passages: Sequence[Passage]
    messages: Sequence[ChatMessage] = field(default_factory=list[ChatMessage])
    max_sentences: int = 3
    role: ModelRole = "generation"
    user: str = ""  # whose budget pays
    shareable: bool = False  # whether all of it may leave this machine; private unless somebody said otherwise
    agreed: bool = False  # whether the user agreed to a paid call for this very question
    deadline: float = inf  # monotonic seconds
    outside: Sequence[ChatMessage] = ()  # what a model elsewhere sees instead of `messages`
    schema: Mapping[str, Any] | None = None  # JSON schema that the answer has to follow

    def for_elsewhere(self) -> WriteRequest:
        return replace(self, messages=self.outside) if self.outside else self


@dataclass(frozen=True, slots=True)
class Offer:
    """A paid call that needs the reader's word. `cost` is the most that it can take, in US dollars."""

    provider: str
    model: str
    cost: float
    reason: str  # why local models did not answer


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of an answer as it is written. The last piece may be empty and carries the counts.

    `note` is what the reader should know about how the answer came about; it is no part of the answer. `offer`: a cloud
    model that could answer if the reader agreed.
    """

    text: str
    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    note: str = ""
    cost: float = 0.0  # US dollars
    waited: float | None = None  # seconds to the first token; with the first piece
    offer: Offer | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """Which model would be asked. `price` None: it costs nothing."""

    provider: str
    model: str
    price: Price | None


class Model(Protocol):
    """Port of a language model that our own code asks: no reader sees its words come."""

    async def ask(self, request: WriteRequest) -> Piece:
        """The whole answer as one piece. Raises ModelUnavailable, ModelFailed."""
        ...


class Writer(Protocol):
    """Port of a chat model. Raises ModelUnavailable before the first piece, ModelFailed after it."""

    @property
    def name(self) -> str: ...

    def write(self, request: WriteRequest) -> AsyncGenerator[Piece]:
        """Pieces as they come. Closing the generator stops the model at its server."""
        ...
