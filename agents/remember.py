"""The turn, committed: one record for history, evals, the page and debugging."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from langgraph.runtime import Runtime

from aegis.scope import Scope
from agents.evidence import drawn_on
from agents.prompts import PROMPT_VERSION
from agents.state import Context, State
from memory.conversations import Citation, Turn, TurnState


class Finishing(Protocol):
    async def finish(self, scope: Scope, turn: Turn) -> None: ...


@dataclass(frozen=True)
class Remember:
    """Commits. A run without a turn id (a debugging run) only carries its history on in its own state."""

    conversations: Finishing

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        context = runtime.context
        if not context.turn_id:
            told = {"question": state.get("standalone", ""), "answer": state.get("answer", "")}
            return {"history": [*state.get("history", ()), told]}
        await self.conversations.finish(context.scope, turn_of(context, state))
        return {}


def turn_of(context: Context, state: State, outcome: TurnState = "done") -> Turn:
    """What the state holds at this moment, as a turn; complete when the run is."""
    return Turn(
        id=context.turn_id,
        conversation_id=context.conversation_id,
        question=state.get("question", ""),
        state=outcome,
        answer=state.get("answer", ""),
        abstained=state.get("abstained", False),
        standalone=state.get("standalone", ""),
        route=state.get("route", ""),
        citations=tuple(Citation(**citation) for citation in state.get("citations", ())),
        chunk_ids=tuple(hit["chunk_id"] for hit in state.get("found", ())),
        fact_ids=tuple(fact["fact_id"] for fact in state.get("facts", ())),
        mode=context.mode,
        top_k=context.top_k,
        as_of=context.as_of,
        known_at=context.known_at,
        collections=context.collections or (),
        filters=context.filters,
        prompt_version=PROMPT_VERSION,
        model=state.get("model", ""),
        tokens_in=state.get("tokens_in", 0),
        tokens_out=state.get("tokens_out", 0),
        cost=state.get("cost", 0.0),
        first_token_ms=state.get("first_token_ms"),
        offer=state.get("offer"),
        epoch=state.get("epoch", 0),
        timings=dict(state.get("timings", {})),
        steps=tuple(state.get("steps", ())),
        notes=tuple(state.get("notes", ())),
        cached=state.get("cached") or None,
        drawn_on=drawn_on(state),
        retold=tuple(dict.fromkeys(turn["conversation_id"] for turn in state.get("recalled", ()))),
    )
