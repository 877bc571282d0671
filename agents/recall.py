"""Questions about conversations themselves: the turns they mean are found, then told.

`Recall` runs before the route is known, as what it finds decides the route: a question that only sounds like one
about conversations is looked up in the documents.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from langgraph.runtime import Runtime

from aegis.scope import Scope
from agents.route import READ_CHARS, classify
from agents.state import Context, Recalled, State, token
from agents.topic import TALK, content_words
from memory.conversations import Turn

SHOWN_TURNS = 3
SUMMED_TURNS = 12
KEPT_CHARS = 600
_CANDIDATES = 50

_ORDINALS = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4}
_POSITION = re.compile(
    r"\b(first|second|third|fourth|fifth|last|previous|latest|earlier|just)\b(?: \w+)? ?"
    r"\b(questions?|messages?|answers?|repl(?:y|ies)|responses?|things?|ask|asked|say|said|tell|told|answered)\b"
)
_WHOLE = re.compile(
    r"\b(?:our|this|the) (?:whole |entire )?(?:conversation|chat|discussion)(?: so far)?\W*$|\bso far\b|"
    r"\bwhat (?:were|have|did) we (?:been |just )?(?:talk|discuss|speak|say)\w*(?: about)?\W*$"
)


class Earlier(Protocol):
    async def history(self, scope: Scope, conversation_id: str, *, last: int | None = None) -> Sequence[Turn]: ...

    async def mentioning(self, scope: Scope, words: Sequence[str], *, limit: int = 50) -> Sequence[Turn]: ...


@dataclass(frozen=True)
class Recall:
    """Sets `recalled` for questions about conversations; costs nothing for others."""

    conversations: Earlier

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        if classify(state["question"]) != "recall":
            return {"recalled": []}
        context, question = runtime.context, _plain(state["question"])
        here = [turn for turn in await self._here(context) if turn.id != context.turn_id]
        chosen = _by_position(question, here)
        if chosen is None:
            chosen = await self._about(context, content_words(question), here)
        return {"recalled": [_recalled(turn) for turn in chosen]}

    async def _here(self, context: Context) -> list[Turn]:
        turns = await self.conversations.history(context.scope, context.conversation_id)
        return [turn for turn in turns if turn.state in ("done", "stopped")]

    async def _about(self, context: Context, words: Sequence[str], here: Sequence[Turn]) -> list[Turn]:
        meant = [word for word in words if word not in TALK]
        if not meant:
            return list(here[-SUMMED_TURNS:])
        turns = await self.conversations.mentioning(context.scope, meant, limit=_CANDIDATES)
        return ranked([turn for turn in turns if turn.id != context.turn_id], meant)[:SHOWN_TURNS]


@dataclass(frozen=True)
class Recount:
    """Tells the turns that were found, word for word, or abstains. Sets `answer`."""

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        recalled = state.get("recalled", [])
        answer = told(_plain(state["question"]), recalled) if recalled else NOTHING
        runtime.stream_writer(token(answer))
        return {"answer": answer, "abstained": not recalled, "citations": []}


NOTHING = "I found nothing about that in our conversations."


def told(question: str, recalled: Sequence[Recalled]) -> str:
    match = _POSITION.search(question)
    if match and len(recalled) == 1:
        return _one(match, recalled[0], sources="cite" in question or "source" in question)
    if _WHOLE.search(question):
        return "So far in this conversation:\n" + "\n".join(f"- You asked: “{turn['question']}”" for turn in recalled)
    return "\n\n".join(_quoted(turn) for turn in recalled)


def ranked(turns: Sequence[Turn], words: Sequence[str]) -> list[Turn]:
    """Turns by the rare words they share with the question; what the person said of themselves counts more.

    Earlier questions about conversations only repeat the words and tell nothing, so they are left out.
    """
    kept = [turn for turn in turns if turn.route != "recall"]
    rarity = {word: math.log(1 + len(kept) / (1 + sum(word in _both(turn) for turn in kept))) + 0.1 for word in words}
    scores = {turn.id: _score(turn, rarity) for turn in kept}
    return sorted((turn for turn in kept if scores[turn.id] > 0), key=lambda turn: -scores[turn.id])


def _score(turn: Turn, rarity: dict[str, float]) -> float:
    question, score = turn.question.lower(), 0.0
    for word, weight in rarity.items():
        score += weight * (word in _both(turn))
        score += weight * (word in question)
        score += 2 * weight * (f"my {word}" in question)
    return score


def _both(turn: Turn) -> str:
    return f"{turn.question} {turn.answer}".lower()


def _by_position(question: str, here: Sequence[Turn]) -> list[Turn] | None:
    """The turn that a question points at by its place, the whole conversation, or None when it does neither."""
    if _WHOLE.search(question):
        return list(here[-SUMMED_TURNS:])
    match = _POSITION.search(question)
    if not match or (match[1] == "just" and [word for word in content_words(question) if word not in TALK]):
        return None
    place = _ORDINALS.get(match[1], -1)
    return [here[place]] if -len(here) <= place < len(here) else []


def _one(match: re.Match[str], turn: Recalled, *, sources: bool) -> str:
    if sources:
        listed = "\n".join(f"- {title}" for title in turn["sources"])
        return f"My answer to “{turn['question']}” cited:\n{listed}" if listed else "That answer cited nothing."
    if re.match(r"answer|repl|response", match[2]):
        return f"You asked: “{turn['question']}” I answered:\n\n{turn['answer']}"
    return f"You asked: “{turn['question']}”"


def _quoted(turn: Recalled) -> str:
    answer = f"\nI answered: “{turn['answer']}”" if turn["answer"] else ""
    return f"On {turn['when'][:10]} you wrote: “{turn['question']}”{answer}"


def _plain(question: str) -> str:
    return " ".join(question[:READ_CHARS].lower().replace("’", "'").split())


def _recalled(turn: Turn) -> Recalled:
    return Recalled(
        turn_id=turn.id,
        conversation_id=turn.conversation_id,
        question=turn.question[:KEPT_CHARS],
        answer=turn.answer[:KEPT_CHARS],
        when=turn.created_at.isoformat() if turn.created_at else "",
        sources=list(dict.fromkeys(citation.title for citation in turn.citations)),
    )
