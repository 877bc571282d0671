"""What was changed in memory, and by whom."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from api.schemas import Answer


class ChangeAnswer(Answer):
    """`other_id`: the fact that replaced this one. `by`: a user, or `rule`. Of what was merged or pruned the ids are
    those of entities."""

    id: str
    fact_id: str
    kind: Literal["superseded", "corrected", "forbidden", "confirmed", "merged", "pruned", "restored"]
    other_id: str
    reason: str
    by: str
    at: datetime
    undone_at: datetime | None


class ChangesAnswer(Answer):
    changes: list[ChangeAnswer]
