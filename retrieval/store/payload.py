"""What a point carries beside its vectors, the same on every engine: the fields that searches filter on."""

from __future__ import annotations

from typing import Any

from retrieval.store import Point, PointFilter


def payload(point: Point) -> dict[str, Any]:
    """Tags and date are left out where there are none: a condition on them then does not hold."""
    fields: dict[str, Any] = {
        "collection": point.collection,
        "document": point.document,
        "type": point.type,
        "visible_from": point.visible_from,
        "visible_until": point.visible_until,
    }
    if point.tags:
        fields["tags"] = list(point.tags)
    if point.date is not None:
        fields["date"] = float(point.date)
    fields |= {name: list(values) for name, values in point.names.items() if values}
    fields |= {name: float(value) for name, value in point.numbers.items()}
    return fields


def bounds(condition: PointFilter) -> list[list[tuple[str, float | None, float | None]]]:
    """The conditions on numbers, as plain values."""
    return [[(one.field, one.above, one.upto) for one in group] for group in condition.numbers]
