"""What the stream of a run has brought so far."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

from aegis import telemetry
from agents.state import State
from graphs.chain import merged
from graphs.run import Run


class Progress:
    """What a run's stream has brought so far."""

    def __init__(self, run: Run, question: str) -> None:
        self.run = run
        self.state: State = {"question": question, "standalone": question}
        self.text: list[str] = []
        self._begun = time.perf_counter()
        self._first: float | None = None

    def tell(self, event: Mapping[str, Any]) -> None:
        """What a node writes to its stream."""
        if event.get("type") == "token":
            self._token(str(event.get("text", "")))
        elif event.get("type") == "step":
            self.run.publish("step", **{key: value for key, value in event.items() if key != "type"})
        elif event.get("type") == "changes":
            self.state = merged(self.state, event["changes"])

    def written(self) -> State:
        """With the text as far as it has come, where no node has settled the answer yet."""
        if self.state.get("answer"):
            return self.state
        return cast(State, {**self.state, "answer": "".join(self.text)})

    def measure(self, outcome: str) -> None:
        state = self.state
        telemetry.TURNS.labels(state.get("route", "none"), outcome).inc()
        model = state.get("model", "")
        if not model:
            return
        telemetry.TOKENS.labels(model, "in").inc(state.get("tokens_in", 0))
        telemetry.TOKENS.labels(model, "out").inc(state.get("tokens_out", 0))
        if self._first is not None:
            telemetry.FIRST_TOKEN_SECONDS.labels(model).observe(self._first)

    def _token(self, text: str) -> None:
        if not text:
            return
        if self._first is None:
            self._first = time.perf_counter() - self._begun
        self.text.append(text)
        self.run.publish("token", text=text)
