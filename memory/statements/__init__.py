"""What a person states in a message, drawn by rules: facts about themselves and others, from their own words only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from memory.statements.dates import period
from memory.statements.own_words import LONGEST_MESSAGE, negated, own_statements
from memory.statements.relations import YOU, Relation, clauses, relation, single

_ANY = datetime(2000, 1, 3, tzinfo=UTC)
MAX_STATEMENTS = 20  # of one message

__all__ = ["MAX_STATEMENTS", "YOU", "Statement", "only_states", "single", "statements", "states"]


@dataclass(frozen=True, slots=True)
class Statement:
    """`quote == message[start:end]`. Dates only where they are stated or follow from when it was said."""

    relation: Relation
    quote: str
    start: int
    end: int
    valid_at: datetime | None
    invalid_at: datetime | None


def statements(message: str, said: datetime) -> list[Statement]:
    """Those of a message, in order. What holds while it is said is known to hold from then on at the earliest."""
    found: list[Statement] = []
    for own in own_statements(message):
        for clause in clauses(own.text):
            stated = None if negated(clause) else relation(clause)
            if stated is None:
                continue
            since, until = _when(clause, stated, said)
            found.append(Statement(stated, own.text, own.start, own.end, since, until))
    return list({(one.relation, one.start): one for one in found}.values())[:MAX_STATEMENTS]


def states(message: str) -> bool:
    """Whether the message states anything at all."""
    return bool(_stated(message))


@lru_cache(maxsize=256)  # several steps ask the same
def _stated(message: str) -> tuple[Statement, ...]:
    """Whenever it was said."""
    return tuple(statements(message, _ANY))


@lru_cache(maxsize=256)
def only_states(message: str) -> bool:
    """Whether the message states something and asks for nothing else."""
    rest = list(message[: LONGEST_MESSAGE + 1])
    for one in _stated(message):
        rest[one.start : one.end] = " " * (one.end - one.start)
    left = "".join(rest)
    return left != message and not re.search(r"\w{3,} +\w{2,} +\w", left) and "?" not in message


def _when(clause: str, stated: Relation, said: datetime) -> tuple[datetime | None, datetime | None]:
    """From its words, else from when it was said. A date that is the object itself dates nothing else."""
    since, until = period(clause.replace(stated.object, "_"), said)
    if since is not None and since <= said:
        return since, until
    return (None if until is not None else said), until
