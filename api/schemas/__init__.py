"""What goes over the wire: one file per family of routes, named as theirs; here what all of them are made of.

Bodies refuse unknown fields and are bounded; strings hold no NUL (PostgreSQL takes none) and no half surrogates (UTF-8
has none).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from retrieval.tables import NEVER

MAX_TEXT = 100_000  # a longer question or query is refused before the setting's own bound is looked at


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain the NUL character")
    text.encode()  # a half surrogate raises UnicodeEncodeError, which is a ValueError
    return text


def _filled(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _moment(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("must be a date or a date and time, such as 2024-05-31 or 2024-05-31T12:00:00Z")
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be a date or a date and time, such as 2024-05-31 or 2024-05-31T12:00:00Z") from None


Plain = Annotated[str, AfterValidator(_storable)]
Filled = Annotated[Plain, AfterValidator(_filled)]
Identifier = Annotated[Plain, Field(min_length=1, max_length=64)]
Name = Annotated[Filled, Field(max_length=120)]
Tag = Annotated[Filled, Field(max_length=60)]
Source = Annotated[Filled, Field(max_length=2000)]
Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "description": "ISO 8601 date, or date and time; UTC where no zone is given"}),
]
Epoch = Annotated[int, Field(ge=0, lt=NEVER, description="As it was known at this epoch")]
SearchMode = Literal["hybrid", "vector", "keyword", "graph", "auto"]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Answer(BaseModel):
    """What we send. Extra attributes of our own records are not passed on."""

    model_config = ConfigDict(from_attributes=True)
