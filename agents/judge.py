"""Grades an answer by the model of judges: for evaluations, where words cannot be compared with words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agents.prompts import judge_messages
from inference import Model, WriteRequest

GRADES = {"correct": 1.0, "partly": 0.5, "wrong": 0.0}
_GRADE = re.compile(r"^\W*(correct|partly|wrong)\b\W*(.*)", re.IGNORECASE | re.DOTALL)
SAID_CHARS = 300


@dataclass(frozen=True, slots=True)
class Verdict:
    """`grade` in [0, 1]; None where the model said neither of the words it was asked for. `says`: its reason."""

    grade: float | None
    says: str
    model: str


@dataclass(frozen=True, slots=True)
class Judge:
    model: Model

    async def __call__(
        self, question: str, answer: str, evidence: Sequence[str], reference: str = "", user: str = ""
    ) -> Verdict:
        """Asked on this machine only, since it sees what the answer quotes. Raises ModelUnavailable."""
        messages = judge_messages(question, answer, evidence, reference)
        said = await self.model.ask(WriteRequest(question, (), messages, role="judge", user=user))
        return verdict(said.text, said.model)


def verdict(said: str, model: str) -> Verdict:
    found = _GRADE.match(said)
    if found is None:
        return Verdict(None, " ".join(said.split())[:SAID_CHARS], model)
    return Verdict(GRADES[found[1].lower()], " ".join(found[2].split())[:SAID_CHARS], model)
