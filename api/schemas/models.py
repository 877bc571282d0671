"""Model servers, budgets, and the verdict of a judge."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from api.schemas import MAX_TEXT, Answer, Body, Filled, Plain


class ModelServerAnswer(Answer):
    """`state`: resting means that it failed several times in a row and is left alone for a while."""

    address: str
    state: Literal["up", "unreachable", "resting"]
    busy: int
    served: int
    models: list[str]


class BudgetAnswer(Answer):
    """US dollars of one day (2026-11-25) or month (2026-11), UTC; calls under way count with the most they can cost."""

    kind: Literal["provider", "user"]
    name: str
    period: str
    spent: float
    limit: float
    share: float


class ModelsAnswer(Answer):
    """`answers`: who would answer a private question now. `clouds`: what could answer one that may leave.
    `warnings`: budgets that are nearly spent, cloud models without a price."""

    answers: str
    advice: str
    clouds: list[str]
    warnings: list[str]
    servers: list[ModelServerAnswer]
    budgets: list[BudgetAnswer]


class JudgeBody(Body):
    """`evidence`: what the answer quotes; `reference`: what it should say, if that is known."""

    question: Annotated[Filled, Field(max_length=MAX_TEXT)]
    answer: Annotated[Filled, Field(max_length=MAX_TEXT)]
    evidence: Annotated[list[Annotated[Plain, Field(max_length=MAX_TEXT)]], Field(max_length=100)] = []
    reference: Annotated[Plain, Field(max_length=MAX_TEXT)] = ""


class VerdictAnswer(Answer):
    """`grade` is 1 correct, .5 partly, 0 wrong; null where the model said none of these."""

    grade: float | None
    says: str
    model: str
