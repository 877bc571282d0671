"""Conversations and their turns. One record serves history, evals, the page and debugging.

Three tiers: every turn is committed to the relational store first (`store.py`); the last RECENT turns of a live
conversation also stand in the hot tier (`hot.py`); bodies beyond the last KEPT turns stand in an archive (`archive.py`)
and are read back when asked for. `tiers.py` puts them together, `index.py` searches all of them.

A turn is committed twice: with its question before it runs, with its answer when it is done; a crash in between
leaves a turn in state `running`, which the next start marks as interrupted (`interrupt_running`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.scope import Scope

MAX_TITLE = 80
ID = 36  # characters of an id
RECENT = 5  # turns of a live conversation in the hot tier: 10 messages
KEPT = 25  # turns of a conversation whose bodies stand in the relational store, at most: 50 messages

TurnState = Literal["running", "done", "failed", "stopped", "interrupted"]
SAID: tuple[TurnState, ...] = ("done", "stopped")  # turns that later ones can refer to


@dataclass(frozen=True, slots=True)
class Citation:
    """`quote == document_text[start:end]`. `support`: share of the cited sentence's content words in the quote."""

    marker: int
    document_id: str
    version_id: str
    chunk_id: str
    source: str
    title: str
    start: int
    end: int
    quote: str
    support: float
    page: str | None = None
    heading: str | None = None
    warning: str | None = None  # what is known against the document's text: pages without any, say


@dataclass(frozen=True, slots=True)
class Turn:
    id: str
    conversation_id: str
    question: str
    state: TurnState = "running"
    answer: str = ""
    abstained: bool = False
    standalone: str = ""
    route: str = ""
    citations: tuple[Citation, ...] = ()
    chunk_ids: tuple[str, ...] = ()
    fact_ids: tuple[str, ...] = ()
    mode: str = "hybrid"
    top_k: int = 0  # as asked, like the next four: with them the turn can be run again; 0: not recorded
    as_of: str | None = None
    known_at: int | None = None
    collections: tuple[str, ...] = ()
    filters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    prompt_version: str = ""
    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0  # US dollars
    first_token_ms: float | None = None  # from the call of the model to its first token
    offer: Mapping[str, Any] | None = None  # a paid call that only needs the reader's word: see inference.Offer
    epoch: int = 0
    timings: Mapping[str, float] = field(default_factory=dict[str, float])  # node -> milliseconds
    steps: tuple[Mapping[str, Any], ...] = ()  # what each node found, as the page showed it
    notes: tuple[str, ...] = ()  # what the reader should know: a store out of reach, no model configured
    cached: Mapping[str, Any] | None = None  # of a cached answer: turn_id, question, answered_at, near, sources
    feedback: Mapping[str, Any] | None = None
    created_at: datetime | None = None
    # Kept beside the turn (inference.sharing): documents that the answer was made from, conversations that it repeats.
    drawn_on: tuple[str, ...] = ()
    retold: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    id: str
    owner: str
    title: str
    created_at: datetime
    updated_at: datetime

    @property
    def cursor(self) -> str:
        """What `list(before=...)` takes to go on after this one."""
        return f"{micros(self.updated_at)}:{self.id}"


@dataclass(frozen=True, slots=True)
class Found:
    """A turn that a search found; scores compare within one search only."""

    turn: Turn
    score: float


@dataclass(frozen=True, slots=True)
class Receipt:
    """What went with a conversation. `further`: by name, what others had drawn from it (facts, saved answers)."""

    conversation_id: str
    turns: int
    archives: int
    further: Mapping[str, int]


class Forgetting(Protocol):
    """Whoever keeps something drawn from a conversation. Handed to the store, asked when a conversation is erased."""

    @property
    def name(self) -> str:
        """What it keeps, as a receipt says it: "facts", "saved answers"."""
        ...

    async def forget(self, connection: AsyncConnection, scope: Scope, conversation_id: str) -> int:
        """Erase it, rows in the transaction that erases the conversation; how many."""
        ...


class Searching(Protocol):
    """Search over turns of every tier. Adapter: `tiers.py`."""

    async def search(
        self, scope: Scope, text: str, *, limit: int = 20, conversation_id: str | None = None
    ) -> Sequence[Found]:
        """The user's turns by what they say, best first; of one conversation where one is named."""
        ...


class Conversations(Protocol):
    """The port. Another user's conversation is NotFound, never Forbidden. Adapters: `store.py`, `tiers.py`."""

    async def begin(self, scope: Scope, turn: Turn) -> None:
        """Commit the question; makes the conversation when it is new, its title from the question."""
        ...

    async def finish(self, scope: Scope, turn: Turn) -> None:
        """Commit the whole turn, whether or not it was begun; idempotent."""
        ...

    async def history(self, scope: Scope, conversation_id: str, *, last: int | None = None) -> list[Turn]:
        """Turns in order; only the last few when asked. An unknown conversation has none."""
        ...

    async def page(self, scope: Scope, conversation_id: str, *, after: int, limit: int) -> list[Turn]:
        """Turns in order, passing over the first `after`."""
        ...

    async def recent(self, scope: Scope, conversation_id: str) -> Sequence[Turn]:
        """The last turns that were answered, in order, at most RECENT."""
        ...

    async def get(self, scope: Scope, conversation_id: str) -> Conversation: ...

    async def list(
        self, scope: Scope, *, before: str = "", limit: int = 50, holding: str = ""
    ) -> Sequence[Conversation]:
        """Newest first; `before` is the `cursor` of the last one of the page before. `holding`: only those with this
        text in their title, a question or an answer. Raises InvalidInput."""
        ...

    async def turn(self, scope: Scope, turn_id: str) -> Turn: ...

    async def holds(self, scope: Scope, turn_id: str) -> bool:
        """Whether there is such a turn of the user's."""
        ...

    async def take_in(self, scope: Scope, conversation: Conversation, told: Sequence[Turn]) -> int:
        """Add turns that were exported, under their ids and times; those that are there stay as they are.

        How many were added. Raises NotFound where the conversation's id is another user's.
        """
        ...

    async def summary(self, scope: Scope, conversation_id: str) -> str:
        """What was said before the last turns, in a model's words; empty where none has written it."""
        ...

    async def mentioning(self, scope: Scope, words: Sequence[str], *, limit: int = 50) -> Sequence[Turn]:
        """The user's finished turns, of all conversations, that hold one of these words; newest first."""
        ...

    async def rename(self, scope: Scope, conversation_id: str, title: str) -> Conversation: ...

    async def delete(self, scope: Scope, conversation_id: str) -> Receipt:
        """With all its turns. Stop what still runs in it first: finishing a turn makes its conversation anew."""
        ...

    async def feedback(self, scope: Scope, turn_id: str, feedback: Mapping[str, Any] | None) -> None: ...


def told(turn: Turn) -> dict[str, Any]:
    """A turn as an answer: JSON-able, as the API gives it and the event `done` carries it."""
    return {
        "answer": turn.answer,
        "abstained": turn.abstained,
        "citations": [asdict(citation) for citation in turn.citations],
        "route": turn.route,
        "conversation_id": turn.conversation_id,
        "turn_id": turn.id,
        "model": turn.model,
        "timings": dict(turn.timings),
        "state": turn.state,
        "standalone": turn.standalone,
        "tokens_in": turn.tokens_in,
        "tokens_out": turn.tokens_out,
        "cost": turn.cost,
        "first_token_ms": turn.first_token_ms,
        "prompt_version": turn.prompt_version,
        "offer": dict(turn.offer) if turn.offer else None,
        "epoch": turn.epoch,
        "notes": list(turn.notes),
        "cached": dict(turn.cached) if turn.cached else None,
        "facts": facts_of(turn),
    }


def cited(turn: Turn) -> list[str]:
    """Documents that its answer cites, and whose passages were shown with its steps: what is known of one that comes
    from a file."""
    found = [citation.document_id for citation in turn.citations]
    for detail in (step.get("detail") for step in turn.steps):
        hits = detail.get("hits") if isinstance(detail, Mapping) else None
        shown = hits if isinstance(hits, list | tuple) else ()
        found += [str(hit.get("document_id", "")) for hit in shown if isinstance(hit, Mapping)]
    return [each for each in dict.fromkeys(found) if 0 < len(each) <= ID]


def facts_of(turn: Turn) -> list[dict[str, Any]]:
    """Facts that the answer was found with, each once: fact_id, text (its beginning), memory, chunk_id, and said, where
    the person said it."""
    shown = (fact for step in turn.steps for fact in (step.get("detail") or {}).get("facts") or ())
    return list({str(fact["fact_id"]): dict(fact) for fact in shown}.values())


def title_of(question: str) -> str:
    """The first words of a question on one line, at most MAX_TITLE characters."""
    line = " ".join(plain(question).split())
    if len(line) <= MAX_TITLE:
        return line
    return (line[: MAX_TITLE - 1].rsplit(" ", 1)[0] or line[: MAX_TITLE - 1]) + "…"


def plain(value: str) -> str:
    """PostgreSQL takes no NUL, and no store takes half of a surrogate pair."""
    if value.isascii() and "\0" not in value:
        return value
    return value.replace("\0", "�").encode("utf-8", "replace").decode()


def micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
