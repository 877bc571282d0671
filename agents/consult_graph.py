"""What graph memory knows: facts about the names in the question, the path between two of them, and passages that
mentions lead to. Runs beside `retrieve`; a graph out of reach is noted, and the run goes on without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from langgraph.runtime import Runtime

from aegis.errors import GraphUnavailable, IndexUnavailable
from aegis.scope import Scope
from agents.retrieve import INDEX_NOTE, found, moment, search_request
from agents.state import Context, FactUsed, Found, State
from agents.topic import names
from memory.facts import Facts, Neighbourhood, Neighbourhoods, ScoredFact
from retrieval.catalogue import Chunk
from retrieval.search import Hit, Searcher

GRAPH_NOTE = "Facts were out of reach: the graph did not answer."
MOST_FACTS = 10
EVIDENCE_WEIGHT = 0.8  # of the best passage's score: what a fact's passage gets at most


class Chunks(Protocol):
    async def chunks(self, scope: Scope, ids: Sequence[str]) -> list[Chunk]: ...


@dataclass(frozen=True)
class ConsultGraph:
    """Sets `facts` and `path`, adds to `found`. `mentions` is the searcher whose `graph` mode follows mentions."""

    facts: Facts
    neighbourhoods: Neighbourhoods
    chunks: Chunks
    mentions: Searcher

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        context = runtime.context
        changes: dict[str, Any] = {"facts": [], "path": [], "found": [], "notes": []}
        try:
            scored = await self._facts(context, state)
            changes["facts"] = [_used(each) for each in scored]
            changes["found"] = await self._evidence(context.scope, scored)
            changes["path"] = await self._path(context.scope, names(state["standalone"]))
        except GraphUnavailable:
            changes["notes"] = [GRAPH_NOTE]
        try:
            changes["found"] += [found(hit) for hit in await self._mentioned(context, state)]
        except (GraphUnavailable, IndexUnavailable) as error:
            note = GRAPH_NOTE if isinstance(error, GraphUnavailable) else INDEX_NOTE
            changes["notes"] = [*changes["notes"], note]
        return changes

    async def _facts(self, context: Context, state: State) -> list[ScoredFact]:
        scope = context.scope.narrowed(context.filters.get("collection"))
        return await self.facts.search(
            scope,
            state.get("query") or state["standalone"],
            limit=MOST_FACTS,
            epoch=state.get("epoch", context.known_at),
            as_of=moment(context.as_of, "as_of"),
        )

    async def _mentioned(self, context: Context, state: State) -> list[Hit]:
        if context.mode not in ("hybrid", "graph"):
            return []  # someone asked for one half alone
        return await self.mentions.search(context.scope, search_request(context, state, "graph"))

    async def _evidence(self, scope: Scope, scored: Sequence[ScoredFact]) -> list[Found]:
        best = max((each.score for each in scored), default=0.0)
        scores: dict[str, float] = {}
        for each in scored:
            for evidence in each.fact.evidence:
                share = EVIDENCE_WEIGHT * each.score / best if best > 0 else 0.0
                scores[evidence.chunk_id] = max(share, scores.get(evidence.chunk_id, 0.0))
        known = await self.chunks.chunks(scope, list(scores))
        return [found(Hit(chunk, scores[chunk.id])) for chunk in known]

    async def _path(self, scope: Scope, named: Sequence[str]) -> list[str]:
        """Names along a shortest path between the first two entities that the question names."""
        entities = await self.facts.entities_named(scope, named) if len(named) > 1 else []
        by_name = {entity.name.lower(): entity for entity in entities}
        ends = [by_name[name.lower()] for name in named if name.lower() in by_name][:2]
        if len(ends) < 2:
            return []
        return _names_along(await self.neighbourhoods.path(scope, ends[0].id, ends[1].id))


def _names_along(neighbourhood: Neighbourhood) -> list[str]:
    known = {entity.id: entity.name for entity in neighbourhood.entities}
    return [known[identifier] for identifier in neighbourhood.path if identifier in known]


def _used(scored: ScoredFact) -> FactUsed:
    evidence = scored.fact.evidence
    return FactUsed(
        fact_id=scored.fact.id,
        text=scored.fact.text,
        chunk_id=evidence[0].chunk_id if evidence else "",
        score=round(float(scored.score), 6),
    )
