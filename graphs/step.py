"""A node as the graph runs it: timed, shown to whoever watches, and with its scope resolved."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from langgraph.runtime import Runtime
from langgraph.types import Overwrite

from aegis import telemetry, tracing
from aegis.scope import Scope
from agents.state import Context, State
from graphs.summaries import detail, summary

Scopes = Callable[[Context], Awaitable[Scope]]
"""What a run that does not say may see."""

Tell = Callable[[Mapping[str, Any]], None]
watcher: ContextVar[Tell | None] = ContextVar("watcher", default=None)
"""Who is told of steps, tokens and changed keys at once. Without one, steps and tokens go to LangGraph's stream of
custom events, where each costs a call across threads and a turn of the event loop."""

_REDUCED: Mapping[str, Any] = {"found": [], "notes": [], "timings": {}, "steps": []}
_FRESH: Mapping[str, Any] = {
    "query": "", "facts": [], "path": [], "enough": False, "judged": 0.0, "attempts": 0, "answer": "",
    "abstained": False, "citations": [], "model": "", "tokens_in": 0, "tokens_out": 0,
    "lookup": {}, "cached": {}, "named": [],
    "cost": 0.0, "first_token_ms": None, "offer": None,
}  # fmt: skip


class Node(Protocol):
    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Step:
    """`first`: forgets what an earlier run left in the state, where a checkpointer keeps it (`langgraph dev`).
    `room`: entered while it works."""

    name: str
    node: Node
    scopes: Scopes
    first: bool = False
    room: AbstractAsyncContextManager[Any] = field(default_factory=nullcontext[None])

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        tell = watcher.get() or runtime.stream_writer
        tell(_event(self.name, "start"))
        async with self.room:
            started = time.perf_counter()
            with tracing.span(f"node {self.name}"):
                changes = await self.node(state, await self._resolved(runtime, tell))
            took = time.perf_counter() - started
        telemetry.NODE_SECONDS.labels(self.name).observe(took)
        event = _event(self.name, "end", changes, round(took * 1000, 3))
        tell(event)
        changes = self._with_step(changes, event)
        if watcher.get() is not None:
            tell({"type": "changes", "changes": changes})
        return changes

    async def _resolved(self, runtime: Runtime[Context], tell: Tell) -> Runtime[Context]:
        context = runtime.context or Context()
        if context.collections is None:
            visible = await self.scopes(context)
            context = replace(context, user=visible.user, collections=tuple(sorted(visible.collections)))
        return runtime.override(context=context, stream_writer=tell)

    def _with_step(self, changes: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
        shown = {key: event[key] for key in ("node", "summary", "took_ms", "detail")}
        changes = {**changes, "timings": {self.name: event["took_ms"]}, "steps": [shown]}
        if not self.first:
            return changes
        anew = {key: Overwrite(changes.get(key, empty)) for key, empty in _REDUCED.items()}
        return {**_FRESH, **changes, **anew}


def _event(
    node: str, state: str, changes: Mapping[str, Any] | None = None, took_ms: float | None = None
) -> dict[str, Any]:
    found = changes or {}
    words = summary(node, found) if state == "end" else ""
    return {
        "type": "step",
        "node": node,
        "state": state,
        "summary": words,
        "took_ms": took_ms,
        "detail": detail(found) if state == "end" else {},
    }
