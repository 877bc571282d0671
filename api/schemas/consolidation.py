"""How far a consolidation of memory is, or how it ended."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from api.schemas import Answer


class ConsolidationAnswer(Answer):
    """The last one, or the one under way. `merged` and `pruned` entities are listed with the changes; `summarised`: of
    how many entities the summary changed."""

    running: bool
    phase: Literal["merge", "prune", "summarise", "done"] | None
    started_at: datetime | None
    ended_at: datetime | None
    merged: int
    pruned: int
    summarised: int
