"""Questions about conversations themselves: the turns they mean are found, then told.

`Recall` runs before the route is known, as what it finds decides the route: a question that only sounds like one
about conversations is looked up in the documents.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from langgraph.runtime import Runtime

from aegis.scope import Scope
from agents.retrieve import moment
from agents.route import READ_CHARS, classify
from agents.state import Context, FactUsed, Recalled, State, token
from agents.topic import TALK, content_words
from memory.conversations import Turn
from memory.facts import Fact, ScoredFact
from memory.naming import speaks_of_self
from memory.statements import only_states

SHOWN_TURNS = 3
SUMMED_TURNS = 12
KEPT_CHARS = 600
_CANDIDATES = 50
_EVERYTHING = 10  # facts told to whoever asks what is known of them
_COMMON_VERBS = ("work", "use", "make")
_ABOUT_ME = frozenset(("know", "anything", "everything", "something", "am", "myself", "old"))
# Words that questions use for relations whose sentences need not hold them.
_MEANT = {
    "LIVES_IN": "live home city reside address", "WORKS_FOR": "work employer company job", "NAME": "name called",
    "WORKS_AS": "work job profession role occupation title", "AGE": "age old",
    "MARRIED_TO": "wife husband spouse married",
    "REPORTS_TO": "manager boss supervisor report", "BORN_ON": "birthday born birth", "BORN_IN": "born birthplace",
    "HAS": "have own pet", "LIKES": "like love enjoy", "DISLIKES": "dislike hate", "IS": "am",
}  # fmt: skip

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


class Remembered(Protocol):
    """What is needed of `memory.facts.Facts`."""

    async def search(
        self, scope: Scope, query: str, *, limit: int = 10, epoch: int | None = None, as_of: datetime | None = None
    ) -> Sequence[ScoredFact]: ...


@dataclass(frozen=True)
class Recall:
    """Sets `recalled` for questions about conversations, and `facts` that the person stated where one answers."""

    conversations: Earlier
    facts: Remembered | None = None

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        context, question = runtime.context, _plain(state["question"])
        route = classify(state["question"])
        if route == "dispute":
            return {"recalled": []}
        asked = route == "recall"
        own = await self._own(context, state["question"], strict=not asked)
        if not asked:
            return {"recalled": [], "facts": own} if own else {"recalled": []}
        return {"recalled": await self._recalled(context, question, told_already=bool(own)), "facts": own}

    async def _own(self, context: Context, question: str, *, strict: bool) -> list[FactUsed]:
        """What the person stated that answers a question about themselves."""
        if self.facts is None or not speaks_of_self(question) or only_states(question):
            return []
        scope, at = context.scope.conversations_only(), moment(context.as_of, "as_of")
        found = await self.facts.search(scope, question, limit=_CANDIDATES, epoch=context.known_at, as_of=at)
        return [_stated(each) for each in answering(question, found, strict=strict)]

    async def _recalled(self, context: Context, question: str, *, told_already: bool) -> list[Recalled]:
        """`told_already`: sentences of the person answer; turns that only share words with them would bury those."""
        here = [turn for turn in await self._here(context) if turn.id != context.turn_id]
        chosen = _by_position(question, here)
        if chosen is None:
            chosen = [] if told_already else await self._about(context, content_words(question), here)
        return [_recalled(turn) for turn in chosen]

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
        recalled, own = state.get("recalled", []), state.get("facts", [])
        parts = [stated(own)] if own else []
        if recalled:
            parts.append(told(_plain(state["question"]), recalled))
        answer = "\n\n".join(parts) or NOTHING
        runtime.stream_writer(token(answer))
        return {"answer": answer, "abstained": not parts, "citations": []}


NOTHING = "I found nothing about that in our conversations."


def answering(question: str, found: Sequence[ScoredFact], *, strict: bool) -> list[ScoredFact]:
    """Facts that hold what a question about oneself asks for: all of its words, or most where it asks for talk anyway.

    A question without such words ("what do you know about me") asks for everything.
    """
    wanted = _stems(" ".join(word for word in content_words_of_self(question)))
    if not wanted:
        return [] if strict else list(found[:_EVERYTHING])
    shares = [len(wanted & _stems(_saying(each.fact))) / len(wanted) for each in found]
    best = max(shares, default=0.0)
    least = max(best, 1.0 if strict else 0.5)
    return [each for each, share in zip(found, shares, strict=True) if share >= least][:SHOWN_TURNS]


def content_words_of_self(question: str) -> list[str]:
    """With the verbs that are too common to say much of a document: where somebody works is asked by them."""
    words = [word for word in content_words(question) if word not in TALK and word not in _ABOUT_ME]
    return [*words, *(word for word in _COMMON_VERBS if re.search(rf"\b{word}\b", question.lower()))]


def stated(own: Sequence[FactUsed]) -> str:
    lines = [f"- “{fact['text']}” ({fact.get('said', '')[:10]})".removesuffix(" ()") for fact in own]
    return "From what you told me:\n" + "\n".join(lines)


def _saying(fact: Fact) -> str:
    relation = fact.relation.removeprefix("HAS_AS_").replace("_", " ").lower()
    return f"{fact.text} {relation} {_MEANT.get(fact.relation, '')} {fact.source.name} {fact.target.name}"


def _stems(text: str) -> set[str]:
    return {re.sub(r"(?:ing|ed|es|s|e)$", "", word)[:6] for word in re.findall(r"\w+", text.lower())}


def _stated(scored: ScoredFact) -> FactUsed:
    fact = scored.fact
    dated = [proof.dated for proof in fact.evidence if proof.dated is not None]
    used = FactUsed(fact_id=fact.id, text=fact.text, chunk_id="", score=round(float(scored.score), 6))
    return {**used, "memory": fact.memory, "said": max(dated).isoformat() if dated else ""}


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
