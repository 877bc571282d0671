"""Says that the documents do not answer, what was found instead, and what to try. Invents nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from langgraph.runtime import Runtime

from agents.evidence import NAMED
from agents.state import Context, State, token


@dataclass(frozen=True)
class Abstain:
    """Node: sets `answer` and `abstained`, and streams the answer as one token."""

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        answer = abstention(state)
        runtime.stream_writer(token(answer))
        return {"answer": answer, "abstained": True, "citations": []}


def abstention(state: State) -> str:
    titles = list(dict.fromkeys(hit["title"] for hit in state.get("found", []) if hit["title"]))[:NAMED]
    if not titles:
        return (
            "I found nothing about this in the documents. "
            "Try other words, look at which collections are searched, or add a document that covers it."
        )
    named = "; ".join(f"“{title}”" for title in titles)
    return (
        f"The documents do not seem to answer this. The nearest I found is in {named}. "
        "Try naming what you are looking for as the documents would, or add a document that covers it."
    )
