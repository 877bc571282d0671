"""A condition on points as the engine takes it."""

from __future__ import annotations

from typing import Any

import qdrant_edge as edge


def filter_of(
    collections: list[str],
    epoch: int,
    documents: list[str],
    types: list[str],
    tags: list[str],
    date_from: float | None,
    date_to: float | None,
    names: dict[str, list[str]],
    numbers: list[list[tuple[str, float | None, float | None]]],
) -> Any:
    conditions: list[Any] = [
        edge.FieldCondition("collection", match=edge.MatchAny(collections)),
        edge.FieldCondition("visible_from", range=edge.RangeFloat(lte=epoch)),
        edge.FieldCondition("visible_until", range=above(epoch)),
    ]
    if documents:
        conditions.append(edge.FieldCondition("document", match=edge.MatchAny(documents)))
    if types:
        conditions.append(edge.FieldCondition("type", match=edge.MatchAny(types)))
    conditions += [edge.FieldCondition("tags", match=edge.MatchValue(tag)) for tag in tags]
    if date_from is not None or date_to is not None:
        conditions.append(edge.FieldCondition("date", range=edge.RangeFloat(gte=date_from, lte=date_to)))
    conditions += [edge.FieldCondition(name, match=edge.MatchAny(values)) for name, values in names.items()]
    conditions += [_one_of(group) for group in numbers]
    return edge.Filter(must=conditions)


def _one_of(group: list[tuple[str, float | None, float | None]]) -> Any:
    ranges: list[Any] = [
        edge.FieldCondition(name, range=edge.RangeFloat(gt=above, lte=upto)) for name, above, upto in group
    ]
    return ranges[0] if len(ranges) == 1 else edge.Filter(should=ranges)


def above(epoch: int) -> Any:
    return edge.RangeFloat(gt=epoch)
