"""Dates as documents state them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

_PDF = re.compile(r"(?:D:)?(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:([+-])(\d\d)'?(\d\d)?'?)?")


def iso_date(text: str | None) -> datetime | None:
    """An ISO 8601 date or moment; without a zone it is taken as UTC. None if it is neither."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def pdf_date(text: str | None) -> datetime | None:
    """PDF's D:YYYYMMDDHHmmSS+HH'mm', of which all but the year may be missing. None if it is not one."""
    match = _PDF.match(text.strip()) if text else None
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) if part else None for part in match.groups()[:6])
    sign, hours, minutes = match.groups()[6:]
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    try:
        zone = timezone(offset)
        moment = datetime(year or 0, month or 1, day or 1, hour or 0, minute or 0, second or 0, tzinfo=zone)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
