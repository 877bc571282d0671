"""The running summary: what was said before the turns that a model sees word for word, in a model's own few words.

Written after a turn, in the background, by a model on this machine only, because earlier turns may tell of private
documents. A turn goes in whole or not at all. Whatever fails, the summary stays as it was, and the model is left alone
for a while: answers go on without it.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aegis.errors import AegisError
from aegis.scope import Scope
from aegis.settings import ModelRole
from agents.prompts import ANSWER_SHARE, SUMMARY_CHARS, summary_messages
from agents.window import fitting
from inference import Model, WriteRequest
from inference.tokens import careful
from memory.conversations import Turn
from memory.conversations.summaries import Unsummed

STEP = 3  # turns that wait before the model is asked, so that it is not asked after each
REST = 60.0  # seconds that a model which failed is left alone
LOOK = 0.25  # seconds between looks whether people's questions are answered
ROLE: ModelRole = "extraction"

logger = logging.getLogger(__name__)


class Summaries(Protocol):
    async def unsummed(self, scope: Scope, conversation_id: str) -> Unsummed | None: ...

    async def keep(self, scope: Scope, conversation_id: str, before: Unsummed, summary: str, reaches: int) -> bool: ...


@dataclass
class Summarise:
    """`room`: tokens that fit the model which would be asked. `busy`: while it holds, people's questions come first."""

    summaries: Summaries
    model: Model
    room: Callable[[ModelRole], int]
    busy: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.monotonic
    _rests_until: float = field(default=float("-inf"), init=False)

    async def renew(self, scope: Scope, conversation_id: str) -> None:
        """Until fewer than STEP turns wait, or the model does not do it. Raises StoreUnavailable."""
        while self.clock() >= self._rests_until:
            before = await self.summaries.unsummed(scope, conversation_id)
            if before is None or len(before.turns) < STEP:
                return
            told = _whole(before, self.room(ROLE))
            summary = before.summary
            if told:  # else each of them is longer than the window
                summary = await self._written(scope, before.summary, [turn for _, turn in told])
            if told and not summary:
                self._rests_until = self.clock() + REST
                return
            reaches = told[-1][0] if told else before.turns[-1][0]
            if not await self.summaries.keep(scope, conversation_id, before, summary, reaches):
                return

    async def _written(self, scope: Scope, summary: str, told: Sequence[Turn]) -> str:
        """Empty where no model has written it to its end."""
        while self.busy():  # noqa: ASYNC110 - runs end without an event
            await asyncio.sleep(LOOK)
        messages = summary_messages(summary, [(turn.question, turn.answer) for turn in told])
        try:
            piece = await self.model.ask(WriteRequest("", [], messages, role=ROLE, user=scope.user))
        except AegisError as error:
            logger.info("The running summary of a conversation is written later: %s", error.message)
            return ""
        return bounded(piece.text)


def _whole(before: Unsummed, room: int) -> list[tuple[int, Turn]]:
    """From the first on, as many turns as fit; one that is longer than the window alone is passed over."""
    left = int(room * (1 - ANSWER_SHARE)) - sum(careful(each.text) for each in summary_messages(before.summary, []))
    chosen: list[tuple[int, Turn]] = []
    for ordinal, turn in before.turns:
        if fitting([turn], left):
            chosen.append((ordinal, turn))
            left -= sum(careful(text) for text in (turn.question, turn.answer)) + careful("User: \nAssistant: ") + 2
        elif chosen:
            break
    return chosen


def bounded(text: str) -> str:
    """At most SUMMARY_CHARS, ending with a sentence where there is one."""
    text = " ".join(text.split())
    if len(text) <= SUMMARY_CHARS:
        return text
    sentences = re.match(rf"(?s).{{1,{SUMMARY_CHARS - 1}}}[.!?。！？](?=\s|$)", text)
    return sentences[0] if sentences else text[: SUMMARY_CHARS - 1] + "…"
