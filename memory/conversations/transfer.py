"""Conversations out and in: JSON lines that hold everything, Markdown for reading.

A line is `{"format": 1, "conversation": {...}}` or `{"turn": {...}}`; turns belong to the conversation above them.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal, Protocol

import orjson
from pydantic import TypeAdapter, ValidationError

from aegis.errors import InvalidInput, NotFound
from aegis.scope import Scope, derived_id
from memory.conversations import Conversation, Turn
from memory.conversations.record import packed, safe

FORMAT = 1
PAGE = 200  # turns read or written at a time
MOST_TEXT = 1_000_000  # characters of a question or an answer
MOST_PARTS = 1000  # citations, chunks, steps of a turn

Form = Literal["jsonl", "markdown"]


class Kept(Protocol):
    async def list(self, scope: Scope, *, before: str = "", limit: int = 50) -> Sequence[Conversation]: ...

    async def page(self, scope: Scope, conversation_id: str, *, after: int, limit: int) -> list[Turn]: ...

    async def take_in(self, scope: Scope, conversation: Conversation, told: Sequence[Turn]) -> int: ...


@dataclass(frozen=True, slots=True)
class TakenIn:
    """`known`: turns that were there already, and stay as they are."""

    conversations: int
    turns: int
    known: int


async def exported(kept: Kept, scope: Scope, conversation: Conversation, form: Form) -> AsyncGenerator[bytes]:
    head, body = (_line_of, _line) if form == "jsonl" else (_heading, _passage)
    yield head(conversation)
    after = 0
    while turns := await kept.page(scope, conversation.id, after=after, limit=PAGE):
        for turn in turns:
            yield body(turn)
        after += len(turns)


async def exported_all(kept: Kept, scope: Scope, form: Form) -> AsyncGenerator[bytes]:
    """Newest conversation first."""
    before = ""
    while page := await kept.list(scope, before=before, limit=PAGE):
        for conversation in page:
            async for part in exported(kept, scope, conversation, form):
                yield part
        before = page[-1].cursor


async def take_in(kept: Kept, scope: Scope, data: bytes) -> TakenIn:
    """Add what an export holds. Doing it twice changes nothing. Raises InvalidInput naming the line."""
    talks = list(read(data))
    added = 0
    for conversation, turns in talks:
        for start in range(0, max(1, len(turns)), PAGE):
            added += await _taken(kept, scope, conversation, turns[start : start + PAGE])
    return TakenIn(len(talks), added, sum(len(turns) for _, turns in talks) - added)


async def _taken(kept: Kept, scope: Scope, conversation: Conversation, turns: Sequence[Turn]) -> int:
    """Under new ids where another user has this conversation: the same ones every time."""
    try:
        return await kept.take_in(scope, conversation, turns)
    except NotFound:
        own = replace(conversation, id=derived_id("conversation", scope.user, conversation.id))
        copies = [replace(one, id=derived_id("turn", scope.user, one.id), conversation_id=own.id) for one in turns]
        return await kept.take_in(scope, own, copies)


def read(data: bytes) -> Iterator[tuple[Conversation, list[Turn]]]:
    """Raises InvalidInput."""
    found: tuple[Conversation, list[Turn]] | None = None
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        values = _object(number, line)
        if "conversation" in values:
            if found is not None:
                yield found
            found = (_conversation(number, values), [])
        elif found is None or "turn" not in values:
            raise InvalidInput(f"Line {number} is no turn of a conversation; take a file that an export has written.")
        else:
            found[1].append(_turn(number, values["turn"], found[0].id))
    if found is None:
        raise InvalidInput("The file holds no conversation; take one that an export has written.")
    yield found


def _object(number: int, line: bytes) -> dict[str, Any]:
    try:
        values = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"Line {number} is no JSON: {error.msg}.") from error
    if not isinstance(values, dict):
        raise InvalidInput(f"Line {number} is no JSON object.")
    return values


@dataclass(frozen=True)
class _Head:
    id: uuid.UUID
    title: str
    created_at: datetime
    updated_at: datetime


_HEAD, _TURN = TypeAdapter(_Head), TypeAdapter(Turn)


def _conversation(number: int, values: dict[str, Any]) -> Conversation:
    if values.get("format") != FORMAT:
        raise InvalidInput(
            f"Line {number} has format {str(values.get('format'))[:20]}; this AegisRAG reads format {FORMAT}."
        )
    try:
        head = _HEAD.validate_python(values["conversation"])
    except ValidationError as error:
        raise _wrong(number, error) from error
    if head.created_at.tzinfo is None or head.updated_at.tzinfo is None:
        raise InvalidInput(f"Line {number}: times need a time zone.")
    return Conversation(str(head.id), "", head.title, head.created_at, head.updated_at)


def _turn(number: int, values: Any, conversation_id: str) -> Turn:
    try:
        turn = _TURN.validate_python({**values, "conversation_id": conversation_id} if isinstance(values, dict) else {})
    except ValidationError as error:
        raise _wrong(number, error) from error
    try:
        uuid.UUID(turn.id)
    except ValueError as error:
        raise InvalidInput(f"Line {number}: {turn.id[:80]!r} is no turn id; ids are UUIDs.") from error
    longest = max(len(turn.question), len(turn.answer), len(turn.standalone))
    if longest > MOST_TEXT or max(map(len, (turn.citations, turn.chunk_ids, turn.fact_ids, turn.steps))) > MOST_PARTS:
        raise InvalidInput(f"Line {number} holds more than a turn can.")
    if turn.created_at is not None and turn.created_at.tzinfo is None:
        raise InvalidInput(f"Line {number}: times need a time zone.")
    steps = tuple(step for step in turn.steps if isinstance(step.get("node"), str) and "took_ms" in step)
    state = "interrupted" if turn.state == "running" else turn.state
    return replace(turn, state=state, steps=steps)


def _wrong(number: int, error: ValidationError) -> InvalidInput:
    first = error.errors(include_url=False, include_input=False)[0]
    return InvalidInput(f"Line {number}: {'.'.join(map(str, first['loc']))[:80] or 'it'}: {first['msg'][:200]}.")


def _line_of(conversation: Conversation) -> bytes:
    head = {key: value for key, value in asdict(conversation).items() if key != "owner"}
    return orjson.dumps({"format": FORMAT, "conversation": head}) + b"\n"


def _line(turn: Turn) -> bytes:
    values = {key: value for key, value in packed(turn).items() if key != "conversation_id"}
    return orjson.dumps({"turn": {**values, "created_at": turn.created_at}}) + b"\n"


def _heading(conversation: Conversation) -> bytes:
    return f"# {_inline(conversation.title)}\n\n{conversation.created_at:%Y-%m-%d %H:%M} UTC\n\n".encode()


def _passage(turn: Turn) -> bytes:
    said = str(safe(turn.answer)) or f"({turn.state})"
    parts = [f"## {_inline(turn.question)}", said, *_sources(turn)]
    return ("\n\n".join(parts) + "\n\n").encode()


def _sources(turn: Turn) -> Iterable[str]:
    if turn.citations:
        yield "\n".join(f"- [{one.marker}] {_inline(one.title)}: “{_inline(one.quote)}”" for one in turn.citations)


def _inline(text: str) -> str:
    return " ".join(str(safe(text)).split())
