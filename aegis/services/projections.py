"""The indexes that are filled from the outbox, taken together: how far they are, and made anew."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aegis.errors import AegisError
from aegis.services.background import cancelled

if TYPE_CHECKING:
    from memory.facts.projection import GraphProjection
    from retrieval.projection import Projection, VectorProjection
    from retrieval.reindexing import LiveIndex

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    running: bool
    done: int
    total: int


class Rebuilt(Protocol):
    """A projection that can be made anew. `progress`: (done, total) while that goes on."""

    @property
    def name(self) -> str: ...

    progress: tuple[int, int] | None

    async def rebuild(self, reason: str) -> None: ...


class Projections:
    """The indexes that are filled from the outbox, taken together."""

    def __init__(self, index: LiveIndex, facts: VectorProjection, graph: GraphProjection | None = None) -> None:
        self._index = index
        self._facts = facts
        self._graph = graph
        self._rebuilding: asyncio.Task[None] | None = None
        self._last = 0

    @property
    def all(self) -> Sequence[Projection]:
        vectors = [self._index.now.projection, self._facts]
        return vectors if self._graph is None else [*vectors, self._graph]

    async def rebuild(self) -> None:
        """Start to fill the indexes anew, then the graph, unless that is being done already."""
        if self._rebuilding is None or self._rebuilding.done():
            self._rebuilding = asyncio.create_task(self._rebuild())
            await asyncio.sleep(0)

    def progress(self) -> Progress:
        """Chunks; while the index of facts or the graph is being filled, entities and facts."""
        vectors = self._index.now.projection.progress
        if vectors is not None:
            done, self._last = vectors
            return Progress(True, done, self._last)
        for further in (self._facts.progress, None if self._graph is None else self._graph.progress):
            if further is not None:
                return Progress(True, *further)
        running = self._rebuilding is not None and not self._rebuilding.done()
        return Progress(running, 0 if running else self._last, self._last)

    async def _rebuild(self) -> None:
        standing: list[Rebuilt] = [self._index.now.projection, self._facts]
        standing += [] if self._graph is None else [self._graph]
        for one in standing:
            try:
                await one.rebuild("a rebuild was asked for")
            except AegisError as error:
                logger.warning("The projection %s is not rebuilt: %s", one.name, error)

    async def aclose(self) -> None:
        if self._rebuilding is not None:
            await cancelled(self._rebuilding)
