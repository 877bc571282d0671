"""What the looks at each backend found."""

from __future__ import annotations

from typing import Any, Literal

from api.schemas import Answer


class HealthAnswer(Answer):
    status: Literal["ok"]
    version: str


class CheckAnswer(Answer):
    """One backend. `state` is up, down, or the backend's own word (`rebuilding`, with `detail.progress`)."""

    name: str
    state: str
    required: bool
    took_ms: float
    message: str | None
    detail: dict[str, Any]


class ReadyAnswer(Answer):
    status: Literal["ready", "degraded", "unavailable"]
    version: str
    checks: list[CheckAnswer]
