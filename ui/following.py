"""A turn under way, shown as its events come; from the beginning for whoever joins late."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, Protocol

from graphs.run import Event, Run
from memory.conversations import Turn
from ui import render
from ui.render import Frame, Shown

FLUSH_SECONDS = 0.05  # tokens that come within are shown together


class Emitter(Protocol):
    """The part of Chainlit's emitter used here."""

    async def send_step(self, step_dict: Any) -> None: ...
    async def stream_start(self, step_dict: Any) -> None: ...
    async def send_token(self, id: str, token: str, is_sequence: bool = False) -> None: ...
    async def send_element(self, element_dict: Any) -> None: ...


class Following:
    """Shows one run. Steps are sent whole each time, so that a page which missed some is put right by the next."""

    def __init__(self, emitter: Emitter, run: Run, frame: Frame, *, by_model: bool) -> None:
        self._emitter = emitter
        self._run = run
        self._frame = frame
        self._steps: list[Shown] = []
        self._followups: list[str] = []
        self._answer = _Streamed(emitter, frame, by_model=by_model)

    async def show(self) -> None:
        """Returns when the turn is over and shown."""
        await self._emitter.send_step(render.run(self._frame, over=False))
        try:
            async with aclosing(self._run.events()) as events:
                async for event in events:
                    await self._take(event)
        finally:
            self._answer.close()
        await self._finish(self._run.turn)

    async def _take(self, event: Event) -> None:
        if event.kind == "step":
            await self._step(dict(event.data))
        elif event.kind == "token":
            self._answer.add(str(event.data["text"]))
        elif event.kind == "followups":
            self._followups = [str(question) for question in event.data["questions"]]

    async def _step(self, step: Shown) -> None:
        over = step["state"] == "end"
        if not self._steps:
            await self._emitter.send_step(render.trail(self._frame, (), over=False))
        if not over:
            self._steps.append(step)
        number = max(place for place, known in enumerate(self._steps) if known["node"] == step["node"])
        self._steps[number] = step
        await self._emitter.send_step(render.node(self._frame, number, step, over=over))

    async def _finish(self, turn: Turn) -> None:
        if self._steps:
            for number, step in enumerate(self._steps):
                if step["state"] != "end":  # the run was stopped in it
                    await self._emitter.send_step(render.node(self._frame, number, step, over=True))
            await self._emitter.send_step(render.trail(self._frame, self._steps, over=True))
        await self._settle(turn)
        for below in render.below(self._frame, turn, self._followups):
            await self._emitter.send_element(below)
        await self._emitter.send_step(render.run(self._frame, over=True))

    async def _settle(self, turn: Turn) -> None:
        """The final text replaces what was streamed: citations were bound, sentences may have been taken back."""
        if self._run.error is not None:
            await self._emitter.send_step(render.error(self._frame, self._run.error.message))
        else:
            await self._emitter.send_step(render.answer(self._frame, render.final_text(turn)))


class _Streamed:
    """Text as it comes: sent whole, made safe, at most every FLUSH_SECONDS."""

    def __init__(self, emitter: Emitter, frame: Frame, *, by_model: bool) -> None:
        self._emitter = emitter
        self._frame = frame
        self._by_model = by_model
        self._text = ""
        self._begun = False
        self._flushing: asyncio.Task[None] | None = None

    def add(self, text: str) -> None:
        self._text += text
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())

    def close(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()

    async def _flush(self) -> None:
        await asyncio.sleep(FLUSH_SECONDS if self._begun else 0)
        text = render.written(self._text, self._frame.turn_id, by_model=self._by_model)
        shown = render.answer(self._frame, text, streaming=True)
        if not self._begun:
            self._begun = True
            await self._emitter.stream_start(shown)
        else:
            await self._emitter.send_token(str(shown["id"]), text, is_sequence=True)
