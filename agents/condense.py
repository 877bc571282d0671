# ruff: noqa: E501 - a pattern is easier to check on one line
"""The question as it stands alone: what a follow-up leaves out is taken from the turns before it, by rules, or by a
model that is held to the words of the conversation (`reword.py`).

Three kinds are mended: a word that points back ("how does it scale?"), a question with its verb left out ("and on
Windows?", "what about Neo4j?"), and a bare word ("why?", "tell me more"). A question that names its own subject is
left alone: a wrong guess costs more than a missed one.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

from langgraph.runtime import Runtime

from aegis.scope import Scope
from agents.reword import Reword
from agents.state import Context, State
from agents.topic import names, topic
from memory.conversations import RECENT, SAID, Turn

KEPT_CHARS = 600  # of an earlier question or answer, in the state

_SHORT = 60  # characters; what leaves its verb out is short
_POSSESSIVE = re.compile(r"\b(its|their|his)\b(?! own\b)", re.I)
_SUBJECT = re.compile(r"\b(it|they|them|he|she|him)\b(?!')", re.I)
_HER = re.compile(r"\bher\b", re.I)
_DEMONSTRATIVE = re.compile(
    r"\b(?:this|that|these|those)(?=(?: (?:is|are|was|were|does|do|did|mean|means|work|works|happen|happens|can|will|"
    r"would|could|should|affect|affects|compare|compares|apply|applies)\b|[?.,!]|$))|\bthe (?:same|latter|former)(?=[?.,!]|$)",
    re.I,
)
_EMPTY_IT = re.compile(
    r"\bit(?:'s)? (?:is |was )?(?:takes?|took|possible|safe|ok|okay|necessary|true|worth|allowed|important|better|rain|"
    r"matters?|seems?|depends?|looks like)\b|\b(?:is|was|does|will|would) it (?:possible|safe|ok|okay|necessary|true|worth|"
    r"allowed|important|better|take|matter|seem|depend|make sense|rain)\b",
    re.I,
)
_ABOUT = re.compile(r"^(?:and |but |so |ok,? )?(?:what|how) about (?:the )?(.{1,80}?)\??$", re.I)
_AND = re.compile(r"^(?:and|but|or|also) (.{1,60}?)\??$", re.I)
_PLACED = re.compile(
    r"^(?:(?:in|on|at|under|with|without|for|from|to|by|since|during|before|after|between|as of|until|via|using)\b|"
    r"(?:19|20)\d\d\W*$)",
    re.I,
)
_WH = re.compile(
    r"^(why|why not|how|how so|when|where|who|since when|how come|how much|how many|how long|how often)\W*$", re.I
)
_MORE = re.compile(
    r"^(?:(?:can|could|would) you |please )*(?:tell me more|more(?: details?| information| about (?:it|that|this))?|go on|"
    r"continue|elaborate|explain(?: (?:it|that|this|further|more))?|(?:any |an |some )?(?:other )?examples?|for example|"
    r"(?:give|show) me (?:an |some |more )?(?:examples?|details?)|details?|in (?:more )?detail|really|and then|what else|"
    r"anything else)(?: please)?(?: (?:on|about) (?:it|that|this))?\W*$",
    re.I,
)
_VERB = re.compile(
    r"\b(?:is|are|was|were|do|does|did|can|could|will|would|should|has|have|had|may|must|what|which|who|when|where|why|how)\b",
    re.I,
)


class History(Protocol):
    async def history(self, scope: Scope, conversation_id: str, *, last: int | None = None) -> Sequence[Turn]: ...

    async def recent(self, scope: Scope, conversation_id: str) -> Sequence[Turn]: ...


@dataclass(frozen=True)
class Condense:
    """Sets `history`, `standalone` and the `epoch` that the whole run reads at."""

    conversations: History
    epoch: Callable[[], Awaitable[int]]
    turns: int
    reword: Reword | None = None

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        context = runtime.context
        history = await self._history(context) if context.conversation_id else list(state.get("history", ()))
        epoch = context.known_at if context.known_at is not None else await self.epoch()
        question = " ".join(state["question"].split())
        understood = standalone(state["question"], history)
        if self.reword is not None and history and (understood != question or not stands_alone(question)):
            understood = await self._worded(question, history, context) or understood
        return {"history": history, "standalone": understood, "epoch": epoch}

    async def _worded(self, question: str, history: Sequence[dict[str, str]], context: Context) -> str:
        """By a model; empty where it strays, or leaves the question leaning on what came before."""
        worded = await self.reword(question, history, context.user) if self.reword else ""
        return worded if worded and stands_alone(worded) else ""

    async def _history(self, context: Context) -> list[dict[str, str]]:
        if not self.turns or context.opens:
            return []
        if self.turns <= RECENT:
            earlier = await self.conversations.recent(context.scope, context.conversation_id)
        else:  # one more than wanted: the turn being answered stands there already
            earlier = await self.conversations.history(context.scope, context.conversation_id, last=self.turns + 1)
        done = [turn for turn in earlier if turn.id != context.turn_id and turn.state in SAID]
        return [_remembered(turn) for turn in done][-self.turns :]


def _remembered(turn: Turn) -> dict[str, str]:
    # The standalone form: so a chain of follow-ups keeps its subject.
    turn = replace(turn, question=turn.standalone or turn.question)
    return {"question": turn.question[:KEPT_CHARS], "answer": turn.answer[:KEPT_CHARS]}


def standalone(question: str, history: Sequence[dict[str, str]]) -> str:
    """The question with what it leaves out put in, or as it is."""
    text = " ".join(question.split())
    if not history or not text:
        return text or question
    before = history[-1]
    if len(text) <= _SHORT:
        filled = _bare(text, before) or _elliptic(text, before)
        if filled:
            return filled
    return _resolved(text, history)


@lru_cache(maxsize=256)
def stands_alone(question: str) -> bool:
    """Whether nothing before it is needed to understand it, so that it means the same in every conversation."""
    text = " ".join(question.split())
    if len(text) <= _SHORT and (
        _WH.match(text) or _MORE.match(text) or _ABOUT.match(text) or (not _VERB.search(text) and _PLACED.match(text))
    ):
        return False
    return not _points_back(text) or _names_its_own(text)


def _bare(text: str, before: dict[str, str]) -> str:
    """ "Why?" asks the whole question before again; "tell me more" asks about its topic."""
    if match := _WH.match(text):
        return f"{match[1].capitalize()}: {before['question']}"
    subject = _topic_of(before)
    if _MORE.match(text) and subject:
        word = "examples of" if "example" in text.lower() else "more about"
        return f"Tell me {word} {subject}."
    return ""


def _elliptic(text: str, before: dict[str, str]) -> str:
    """The question before, with another subject or another place and time."""
    match = _ABOUT.match(text) or _AND.match(text)
    placed = bool(_PLACED.match(text)) and not _VERB.search(text)
    if not (match or placed):
        return ""
    part = (match[1] if match else text.rstrip("?")).strip()
    if _VERB.search(part) or _points_back(part):
        return ""
    return _placed(part, before["question"]) if _PLACED.match(part) else _swapped(part, before)


def _placed(part: str, question: str) -> str:
    if year := re.fullmatch(r"(?:in |as of |since )?((?:19|20)\d\d)", part):
        replaced, count = re.subn(r"\b(?:19|20)\d\d\b", year[1], question)
        if count:
            return replaced
    preposition = part.split()[0]
    stem = re.sub(rf" {re.escape(preposition)} [A-Z0-9][\w .-]*$", "", question.rstrip("?. "))
    return f"{stem} {part}?"


def _swapped(part: str, before: dict[str, str]) -> str:
    subject = topic(before["question"])
    if subject and subject.lower() != part.lower():
        return re.sub(rf"\b(?:{re.escape(subject)})(?!\w)", lambda _: part, before["question"], count=1)
    return f"{before['question'].rstrip('?. ')}: {part}?"


def _resolved(text: str, history: Sequence[dict[str, str]]) -> str:
    if not _points_back(text) or _names_its_own(text):
        return text
    person = bool(re.search(r"\b(?:he|she|him|his|her)\b", text, re.I))
    subject = _subject(history, person)
    if not subject:
        return text
    text = _POSSESSIVE.sub(_owned(subject), text)
    if person:
        text = re.sub(r"\bher\b(?= [a-z])", _owned(subject), text, flags=re.I)
        text = _HER.sub(subject, text)
    text = _SUBJECT.sub(lambda _: subject, re.sub(r"^(?:and|but|so) ", "", text, flags=re.I))
    return _DEMONSTRATIVE.sub(lambda _: subject, text)


def _points_back(text: str) -> bool:
    if _EMPTY_IT.search(text):
        return False
    return any(pattern.search(text) for pattern in (_POSSESSIVE, _SUBJECT, _HER, _DEMONSTRATIVE))


def _names_its_own(text: str) -> bool:
    """Whether a name stands before the pointing word, which then means that name."""
    first = min(
        found.start() for found in (p.search(text) for p in (_POSSESSIVE, _SUBJECT, _HER, _DEMONSTRATIVE)) if found
    )
    return bool(names(text[:first]))


def _subject(history: Sequence[dict[str, str]], person: bool) -> str:
    """Looked for from the newest turn back. A person is rather in the answer to a "who", a thing in the question."""
    for before in reversed(history):
        if person and re.match(r"who\b", before["question"], re.I) and (found := _named_in_answer(before)):
            return found
        if found := _topic_of(before):
            return found
    return ""


def _topic_of(before: dict[str, str]) -> str:
    known = names(before["question"])
    return topic(before["question"]) if known else (topic(before["question"]) or _named_in_answer(before))


def _named_in_answer(before: dict[str, str]) -> str:
    first_sentence = re.split(r"(?<=[.!?])\s", before["answer"], maxsplit=1)[0]
    asked = before["question"].lower()
    return next((name for name in names(first_sentence) if name.lower() not in asked), "")


def _owned(subject: str) -> str:
    return f"{subject}'" if subject.endswith("s") else f"{subject}'s"
