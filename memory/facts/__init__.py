"""Graph memory: entities and facts with evidence, in Graphiti's node and edge types.

The relational store is the truth; `driver.py` lets Graphiti run on it, `neo4j.py` fills Neo4j from the outbox.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from aegis.scope import Scope, Span

# Before any module here imports Graphiti: at import it loads a `.env` file, found by walking up from its own folder,
# into the environment of the whole process, where our settings and every child would see it; and it reports its use.
os.environ["GRAPHITI_TELEMETRY_ENABLED"] = "false"
os.environ.setdefault("PYTHON_DOTENV_DISABLED", "1")


Memory = Literal["documents", "conversations"]
"""What documents say, or what the person said."""


@dataclass(frozen=True, slots=True)
class Entity:
    id: str
    name: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where a fact is stated: `quote == document_text[span.start:span.end]`; of what a person said, in the question
    of the turn."""

    document_id: str
    version_id: str
    chunk_id: str
    span: Span
    quote: str
    turn_id: str = ""
    conversation_id: str = ""
    dated: datetime | None = None  # when it was said, or the date of the document


@dataclass(frozen=True, slots=True)
class Fact:
    """`relation` is Graphiti's edge name (UPPER_SNAKE); `text` the sentence that states the fact.

    Two times: true from `valid_at` to `invalid_at`; known from `learnt_at`, superseded since `expired_at`.
    """

    id: str
    text: str
    relation: str
    source: Entity
    target: Entity
    valid_at: datetime | None
    invalid_at: datetime | None
    evidence: tuple[Evidence, ...]
    memory: Memory = "documents"
    learnt_at: datetime | None = None
    expired_at: datetime | None = None
    confirmed: bool = False  # by a person


@dataclass(frozen=True, slots=True)
class ScoredFact:
    fact: Fact
    score: float


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Entities and the facts among them; `path` holds entity ids in order when a path was asked for."""

    entities: tuple[Entity, ...]
    facts: tuple[Fact, ...]
    path: tuple[str, ...] = ()


class Facts(Protocol):
    """Facts of documents, and of what the person said, read through a scope. `epoch` selects what was known, `as_of`
    what was true; without them what is known and valid now."""

    async def search(
        self, scope: Scope, query: str, *, limit: int = 10, epoch: int | None = None, as_of: datetime | None = None
    ) -> list[ScoredFact]:
        """Facts about the entities that the query names, best first."""
        ...

    async def entities_named(self, scope: Scope, names: Sequence[str]) -> list[Entity]:
        """Entities with one of these names, whatever their case."""
        ...

    async def fact(self, scope: Scope, fact_id: str) -> Fact:
        """Raises NotFound."""
        ...

    async def page(self, scope: Scope, *, after: str = "", limit: int = 100) -> list[Fact]:
        """Visible facts in order of id, those after `after`."""
        ...

    async def totals(self, scope: Scope) -> tuple[int, int]:
        """How many entities and facts the scope sees."""
        ...


class Neighbourhoods(Protocol):
    """The graph's own questions. Adapters: relational tables, Neo4j. Raises GraphUnavailable."""

    async def around(
        self, scope: Scope, entity_ids: Sequence[str], *, hops: int = 1, limit: int = 50
    ) -> Neighbourhood: ...

    async def path(self, scope: Scope, start: str, end: str, *, hops: int = 4) -> Neighbourhood:
        """A shortest path, empty when there is none within `hops`."""
        ...
