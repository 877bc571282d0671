"""One turn under way, apart from whoever asks: its events are kept for everyone who watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from aegis.errors import AegisError
from agents.state import Context
from memory.conversations import Turn

EventKind = Literal["metadata", "step", "token", "citations", "followups", "done", "error"]


@dataclass(frozen=True, slots=True)
class Event:
    """`data` is JSON-able: metadata {turn_id, conversation_id}; step {node, state, summary, took_ms, detail} with state
    start or end; token {text}; citations {citations}; followups {questions}; done: the turn; error {code, message}."""

    kind: EventKind
    data: Mapping[str, Any]


class Run:
    """One turn under way, or just over."""

    def __init__(self, turn: Turn, context: Context) -> None:
        self.turn = turn
        self.context = context
        self.error: AegisError | None = None
        self._events: list[Event] = []
        self._watching: list[asyncio.Future[None]] = []
        self._over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._interruptible = True

    @property
    def turn_id(self) -> str:
        return self.turn.id

    @property
    def conversation_id(self) -> str:
        return self.turn.conversation_id

    @property
    def ended(self) -> bool:
        return self._over.is_set()

    async def events(self) -> AsyncGenerator[Event]:
        """From the beginning, then as they come, to `done` or `error`. Any number may watch; leaving harms nothing."""
        position = 0
        while True:
            while position < len(self._events):
                yield self._events[position]
                position += 1
            if self.ended:
                return
            await self._change()

    async def result(self) -> Turn:
        """The turn when it is over: done, stopped or failed (then `error` says why)."""
        await self._over.wait()
        return self.turn

    async def stop(self) -> None:
        """End it; what was written so far is kept. Returns when the turn is committed."""
        self.cancel()
        await self.result()

    def cancel(self) -> None:
        if self._task is not None and self._interruptible:
            self._interruptible = False
            self._task.cancel()

    def started(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def settling(self) -> None:
        """From here on nothing can be stopped: the turn is being committed."""
        self._interruptible = False

    def publish(self, kind: EventKind, **data: Any) -> None:
        self._events.append(Event(kind, data))
        self._wake()

    def end(self) -> None:
        self._over.set()
        self._task = None  # with all that the run has held, while the run is kept for those who come back
        self._wake()

    async def _change(self) -> None:
        changed = asyncio.get_running_loop().create_future()
        self._watching.append(changed)
        await changed

    def _wake(self) -> None:
        watching, self._watching = self._watching, []
        for changed in watching:
            if not changed.done():  # whoever left has cancelled theirs
                changed.set_result(None)
