"""What is to be forgotten, and how far it went."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from api.schemas import Answer, Body, Identifier


class ForgetBody(Body):
    documents: Annotated[list[Identifier], Field(max_length=1000)] = []
    conversations: Annotated[list[Identifier], Field(max_length=1000)] = []
    erase: bool = False


class ForgottenDocument(Answer):
    """How far it went, by store."""

    document_id: str
    stores: dict[str, Literal["not findable", "erased from disk"]]


class ForgottenConversation(Answer):
    conversation_id: str
    turns: int
    stores: dict[str, Literal["not findable", "erased from disk"]]


class ForgottenAnswer(Answer):
    documents: list[ForgottenDocument]
    conversations: list[ForgottenConversation]
