# ruff: noqa: E501 - a pattern is easier to check on one line
"""Small talk, and requests that no document can meet. Fixed sentences: nothing here can claim anything."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from langgraph.runtime import Runtime

from agents.state import Context, State, token
from memory.statements import only_states

ABOUT = (
    "I am AegisRAG, an assistant that answers from the documents in this collection and shows the passage behind each "
    "statement. Ask me about their contents, how things in them are related, which documents there are, or what we "
    "talked about before."
)
_OTHERWISE = (
    "That is not something I can do: I only answer from the documents in this collection, from our conversations, and "
    "about which documents there are. Is there something in them that I can look up?"
)
NOTED = "Noted. I remember it for our conversations; if it changes, tell me, and ask what I know about you at any time."
_REPLIES = (
    (r"\b(?:bye|goodbye|farewell|see (?:you|ya)|take care|good night)\b", "Goodbye. This conversation is kept."),
    (r"\b(?:not (?:so |very |really )?(?:helpful|useful|good|right)|wrong|bad|useless|terrible|hate)\b",
     "I am sorry about that. If you say what was missing or wrong, or put the question in other words, I will look again."),
    (r"^\W*(?:thanks|thank you|thx|cheers|danke|merci|gracias|much appreciated)\b", "You are welcome."),
    (r"\b(?:sorry|my bad|my mistake|never ?mind)\b", "No harm done. What would you like to know?"),
    (r"\bare you (?:a |an )?(?:human|person|real|robot|bot|ai|machine)\b", "No person: a program. " + ABOUT),
    (r"\b(?:who|what) (?:are|r) you\b|\byour (?:name|purpose|job)\b|what (?:can|do) you do|how (?:do|can) you (?:work|help)"
     r"|\bhelp(?: me)?\W*$|introduce yourself|are you there", ABOUT),
    (r"\bhow are you|how is it going|how's it going|what's up|how do you do\b", "All is in working order. What would you like to know?"),
    (r"^\W*(?:hi|hiya|hello|hey|hallo|howdy|greetings|good (?:morning|day|afternoon|evening)|moin|servus|bonjour|salut|hola"
     r"|ciao|guten (?:tag|morgen|abend)|nice to|pleased to|welcome)\b", "Hello. What would you like to know?"),
    (r"^\W*(?:you are|you're|that (?:was|is)|that's|it's|this is|good|great|well|nice|perfect|ok|okay|yes|no|sure|right|fine|cool"
     r"|wow|super|awesome|lol|haha+|hm+|aha|test|testing|ping|k|yep|nope)\b[^?]{0,40}$|^\W*$",
     "All right. Ask whenever you want something looked up."),
)  # fmt: skip
_COMPILED = tuple((re.compile(pattern), reply) for pattern, reply in _REPLIES)


@dataclass(frozen=True)
class Converse:
    """Sets `answer`, and `abstained` where something was asked that it cannot do."""

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        answer = NOTED if only_states(state["question"]) else reply(state["question"])
        runtime.stream_writer(token(answer))
        return {"answer": answer, "abstained": answer == _OTHERWISE, "citations": []}


def reply(message: str) -> str:
    text = " ".join(message.lower().replace("’", "'").split())
    return next((answer for pattern, answer in _COMPILED if pattern.search(text)), _OTHERWISE)
