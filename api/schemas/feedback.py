"""What a reader says of an answer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from api.schemas import Body, Identifier, Plain


class FeedbackBody(Body):
    turn_id: Identifier
    value: Literal[-1, 0, 1]
    comment: Annotated[Plain, Field(max_length=4000)] = ""
