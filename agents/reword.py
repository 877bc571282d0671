"""A follow-up worded by a model so that it stands alone, and held to the words of its conversation.

What the model says is taken only if it adds nothing: every word that carries meaning was said in the conversation, the
question's own are still there, and what is asked for, and what is denied, are the same. Where it strays, fails or is
slow, the rules of `condense.py` do it.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Mapping, Sequence, Set

from aegis.errors import AegisError
from agents.prompts import reword_messages
from inference import Model, WriteRequest
from inference.words import STOP, stem, tokens

LONGEST = 600  # characters of a question that is worded anew; what is longer says enough by itself
REST = 600.0  # seconds for which a model that was too slow is not asked
_ASKED = frozenset({"who", "whom", "whose", "when", "where", "why", "how", "what", "which"})
_DENIED = frozenset(
    {"not", "no", "never", "without", "none", "nor", "neither", "nicht", "kein", "nie", "ohne", "pas", "sans", "sin"}
)
_QUOTES = "\"'`“”«»„ "
_LABEL = re.compile(r"^(?:stand-?alone )?question\s*:\s*", re.IGNORECASE)

logger = logging.getLogger(__name__)


class Reword:
    """`seconds` is what somebody who asked waits for it at most."""

    def __init__(self, model: Model, seconds: float) -> None:
        self._model = model
        self._seconds = seconds
        self._rests_until = 0.0  # monotonic seconds

    async def __call__(self, question: str, history: Sequence[Mapping[str, str]], user: str) -> str:
        """Empty where the rules have to do."""
        if not self._seconds or len(question) > LONGEST or time.monotonic() < self._rests_until:
            return ""
        turns = [(turn["question"], turn["answer"]) for turn in history]
        # Earlier turns may tell of private documents, so it is asked on this machine only.
        request = WriteRequest(question, (), reword_messages(question, turns), role="query", user=user)
        try:
            async with asyncio.timeout(self._seconds):
                said = (await self._model.ask(request)).text
        except TimeoutError:  # leaving stops the model, and says nothing against its server
            self._rests_until = time.monotonic() + REST
            logger.info("No model worded a follow-up within %g s; rules do for a while", self._seconds)
            return ""
        except AegisError as error:
            logger.debug("%s", error.message)
            return ""
        worded = _LABEL.sub("", " ".join(said.split()).strip(_QUOTES)).strip(_QUOTES)
        return worded if adds_nothing(worded, question, turns) else ""


def adds_nothing(worded: str, question: str, turns: Sequence[tuple[str, str]]) -> bool:
    """Whether it is the same question, with words of the conversation in the place of what it left out."""
    if not worded or len(worded) > 2 * LONGEST:
        return False
    said, own = tokens(worded), tokens(question)
    known = {stem(word) for text in (question, *(part for turn in turns for part in turn)) for word in tokens(text)}
    carried = {stem(word) for word in said if word not in STOP}
    kept = {stem(word) for word in own if word not in STOP}
    return (
        bool(carried)
        and carried <= known
        and kept <= carried
        and _asked(own) <= set(said)
        and _denied(said) == _denied([*own, *(tokens(turns[-1][0]) if turns and not kept else ())])
    )


def _asked(words: Sequence[str]) -> Set[str]:
    """The first word that says what is asked for: a model may not turn "when" into "who"."""
    return {next((word for word in words if word in _ASKED), "")} - {""}


def _denied(words: Sequence[str]) -> Set[str]:
    return _DENIED & set(words)
