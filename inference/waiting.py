"""`Retry-After`: for how long a server that has enough to do asks to be left alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

from aegis.errors import ModelBusy

LONGEST = 600.0  # seconds; whoever asks for more is asked again after that


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, told as such or as a date; None where nothing is told that can be read."""
    told = headers.get("retry-after", "").strip()
    try:
        seconds = float(told)
    except ValueError:
        seconds = _until(told)
    return min(max(seconds, 0.0), LONGEST) if isfinite(seconds) else None


def busy(message: str, headers: Mapping[str, str], **details: Any) -> ModelBusy:
    """With the server's own word on when to come back, in detail `retry_after`, where it gave one."""
    told = retry_after(headers)
    if told is None:
        return ModelBusy(message, **details)
    error = ModelBusy(message, retry_after=told, **details)
    error.details["retry_after"] = told
    return error


def _until(told: str) -> float:
    try:
        moment = parsedate_to_datetime(told)
    except ValueError:
        return float("nan")
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - datetime.now(UTC)).total_seconds()
