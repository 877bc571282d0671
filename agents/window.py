"""What a language model sees of the conversation: whole turns only, as many as fit the room there is.

The newest turns stand word for word; what room is left goes to the running summary of what was said before them, then
to earlier turns, by how well they fit the question.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aegis.errors import AegisError
from aegis.scope import Scope
from agents.prompts import recap, said
from agents.state import Context
from inference.tokens import careful
from memory.conversations import RECENT, SAID, Found, Turn

LOOKED_AT = 20  # earlier turns that fit best

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """`turns` in the order they were said. `summary` is empty where none was written, or it does not fit."""

    turns: list[Turn]
    summary: str = ""


class Talked(Protocol):
    async def recent(self, scope: Scope, conversation_id: str) -> Sequence[Turn]: ...

    async def search(
        self, scope: Scope, text: str, *, limit: int = 20, conversation_id: str | None = None
    ) -> Sequence[Found]: ...

    async def summary(self, scope: Scope, conversation_id: str) -> str: ...


@dataclass(frozen=True)
class Window:
    conversations: Talked

    async def __call__(self, context: Context, question: str, room: int) -> Seen:
        """Together at most `room` tokens, as `inference.tokens` counts."""
        if not context.conversation_id or context.opens or room <= 0:
            return Seen([])
        recent = await self.conversations.recent(context.scope, context.conversation_id)
        chosen = fitting([turn for turn in reversed(recent) if turn.id != context.turn_id], room)
        summary = ""
        if len(recent) == RECENT == len(chosen):
            room -= sum(map(_size, chosen))
            summary = await self._summary(context, room)
            room -= careful(recap(summary)) if summary else 0
            chosen += fitting(await self._earlier(context, question, {turn.id for turn in recent}), room, passing=True)
        chosen.sort(key=lambda turn: (turn.created_at is not None and turn.created_at.timestamp(), turn.id))
        return Seen(chosen, summary)

    async def _summary(self, context: Context, room: int) -> str:
        """Whole, or none."""
        summary = await self.conversations.summary(context.scope, context.conversation_id)
        return summary if summary and careful(recap(summary)) <= room else ""

    async def _earlier(self, context: Context, question: str, known: set[str]) -> list[Turn]:
        try:
            found = await self.conversations.search(
                context.scope, question, limit=LOOKED_AT, conversation_id=context.conversation_id
            )
        except AegisError as error:  # an archive out of reach: the newest turns have to do
            logger.warning("Earlier turns are left out of the prompt: %s", error)
            return []
        turns = (one.turn for one in found)
        return [turn for turn in turns if turn.state in SAID and turn.id not in known and turn.id != context.turn_id]


def fitting(turns: Sequence[Turn], room: int, *, passing: bool = False) -> list[Turn]:
    """From the first on while they fit; `passing` over those that do not, otherwise ending there."""
    chosen: list[Turn] = []
    for turn in turns:
        if _size(turn) <= room:
            chosen.append(turn)
            room -= _size(turn)
        elif not passing:
            break
    return chosen


def _size(turn: Turn) -> int:
    return careful(said(turn.question, turn.answer))
