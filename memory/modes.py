"""One searcher for all modes."""

from __future__ import annotations

from dataclasses import dataclass

from aegis.scope import Scope
from retrieval.search import Hit, Searcher, SearchRequest


@dataclass(frozen=True, slots=True)
class ModeSearcher:
    """Modes `graph` and `auto` follow mentions from hybrid hits; the others are the hybrid searcher's own."""

    hybrid: Searcher
    graph: Searcher

    async def search(self, scope: Scope, request: SearchRequest) -> list[Hit]:
        chosen = self.graph if request.mode in ("graph", "auto") else self.hybrid
        return await chosen.search(scope, request)
