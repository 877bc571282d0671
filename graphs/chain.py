"""Steps that always follow each other, run as one node: LangGraph takes a third of a millisecond from node to node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langgraph.runtime import Runtime
from langgraph.types import Overwrite

from agents.state import Context, State, appended, best_of, each_once, summed
from graphs.step import Step

_REDUCERS: Mapping[str, Callable[[Any, Any], Any]] = {
    "found": best_of, "notes": each_once, "timings": summed, "steps": appended,
}  # fmt: skip
_EMPTY: Mapping[str, Any] = {"found": [], "notes": [], "timings": {}, "steps": []}


def _never(_: State) -> bool:
    return False


@dataclass(frozen=True)
class Chain:
    """Each step sees what those before it changed. `over`: whether the rest is left out."""

    steps: Sequence[Step]
    over: Callable[[State], bool] = _never

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        for step in self.steps:
            if self.over(state):
                break
            made = await step(state, runtime)
            state, changes = merged(state, made), _joined(changes, made)
        return changes


def merged(state: State, changes: Mapping[str, Any]) -> State:
    """What LangGraph makes of a state and the keys that a node changed."""
    plain = {key: value.value if isinstance(value, Overwrite) else value for key, value in changes.items()}
    reduced = {
        key: reduce(state.get(key, _EMPTY[key]), changes[key])
        for key, reduce in _REDUCERS.items()
        if key in changes and not isinstance(changes[key], Overwrite)
    }
    return cast(State, {**state, **plain, **reduced})


def _joined(first: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    """Changes that do the same as these one after the other."""
    both = {**first, **then}
    for key, reduce in _REDUCERS.items():
        if key in first and key in then and not isinstance(then[key], Overwrite):
            before = first[key]
            anew = isinstance(before, Overwrite)
            value = reduce(before.value if anew else before, then[key])
            both[key] = Overwrite(value) if anew else value
    return both
