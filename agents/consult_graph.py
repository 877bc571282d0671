"""What graph memory knows: facts about the names in the question, the path between two of them, and passages that
mentions lead to. Runs beside `retrieve`; a graph out of reach is noted, and the run goes on without it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from langgraph.runtime import Runtime

from aegis.errors import GraphUnavailable, IndexUnavailable
from aegis.scope import Scope
from agents.retrieve import INDEX_NOTE, Stays, found, kept_here, may_be_seen, moment, search_request
from agents.state import Context, FactUsed, Found, State
from agents.topic import content_words, names
from memory.facts import Entity, Fact, Facts, Neighbourhood, Neighbourhoods, ScoredFact
from retrieval.chunk import Chunk
from retrieval.search import Hit, Searcher

GRAPH_NOTE = "Facts were out of reach: the graph did not answer."
MOST_FACTS = 10
AROUND = 30  # facts looked at around the entities at hand
HOMES = 3  # passages whose subjects are looked around, too
NEAR = 0.8  # of the least of the facts found by the question's names: what a fact around gets at most
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
    stays: Stays = may_be_seen

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        context = runtime.context
        (led, notes), scored = await asyncio.gather(self._led(context, state), self._search(context, state))
        changes: dict[str, Any] = {"facts": [], "path": [], "found": [found(hit) for hit in led], "notes": notes}
        try:
            if scored is None:
                raise GraphUnavailable(GRAPH_NOTE)
            scored, changes["path"] = await self._facts(context, state, led, scored)
            changes["facts"] = [_used(each) for each in scored]
            changes["found"] = [*await self._evidence(context.scope, scored), *changes["found"]]
        except GraphUnavailable:
            changes["notes"] = list(dict.fromkeys((*notes, GRAPH_NOTE)))
        return changes

    async def _led(self, context: Context, state: State) -> tuple[list[Hit], list[str]]:
        try:
            return await self._mentioned(context, state), []
        except (GraphUnavailable, IndexUnavailable) as error:
            return [], [GRAPH_NOTE if isinstance(error, GraphUnavailable) else INDEX_NOTE]

    async def _search(self, context: Context, state: State) -> list[ScoredFact] | None:
        """Facts about what the question names; None when they are out of reach."""
        try:
            return await self.facts.search(
                context.scope.documents_only().narrowed(context.filters.get("collection")),
                _query(state),
                limit=MOST_FACTS,
                epoch=state.get("epoch", context.known_at),
                as_of=moment(context.as_of, "as_of"),
            )
        except GraphUnavailable:
            return None

    async def _facts(
        self, context: Context, state: State, led: Sequence[Hit], scored: list[ScoredFact]
    ) -> tuple[list[ScoredFact], list[str]]:
        """Best first: those on the path between two named entities, those the question names, those around."""
        in_question = names(state["standalone"])
        full = len(scored) >= MOST_FACTS
        if context.known_at is not None or (full and len(in_question) < 2):  # neighbourhoods are those of now
            return scored, []
        scope = context.scope.documents_only().narrowed(context.filters.get("collection"))
        named, homes = await self._entities(scope, in_question, [] if full else led)
        path = await self._path(scope, named)
        around = [] if full else await self._around(scope, [entity.id for entity in (*named, *homes)])
        near = _ranked(_query(state), _true_at(moment(context.as_of, "as_of"), around))
        return _merged(path.facts, scored, near), _names_along(path)

    async def _entities(
        self, scope: Scope, named: Sequence[str], led: Sequence[Hit]
    ) -> tuple[list[Entity], list[Entity]]:
        """Those the question names, in its order, and those that the best passages are about."""
        titles = [hit.chunk.title for hit in led[:HOMES]]
        found = await self.facts.entities_named(scope, list(dict.fromkeys((*named, *titles))))
        by_name = {entity.name.lower(): entity for entity in found}
        in_question = [by_name[name.lower()] for name in named if name.lower() in by_name]
        others = [by_name[title.lower()] for title in titles if title.lower() in by_name]
        return in_question, [entity for entity in others if entity not in in_question]

    async def _around(self, scope: Scope, ids: Sequence[str]) -> Sequence[Fact]:
        return (await self.neighbourhoods.around(scope, ids, limit=AROUND)).facts if ids else ()

    async def _path(self, scope: Scope, named: Sequence[Entity]) -> Neighbourhood:
        if len(named) < 2 or named[0].id == named[1].id:
            return Neighbourhood((), ())
        return await self.neighbourhoods.path(scope, named[0].id, named[1].id)

    async def _mentioned(self, context: Context, state: State) -> list[Hit]:
        if context.mode in ("vector", "keyword"):
            return []  # someone asked for one half alone
        request = await kept_here(self.stays, context, search_request(context, state, "graph"))
        return await self.mentions.search(context.scope, request)

    async def _evidence(self, scope: Scope, scored: Sequence[ScoredFact]) -> list[Found]:
        best = max((each.score for each in scored), default=0.0)
        scores: dict[str, float] = {}
        for each in scored:
            for evidence in each.fact.evidence:
                share = EVIDENCE_WEIGHT * each.score / best if best > 0 else 0.0
                scores[evidence.chunk_id] = max(share, scores.get(evidence.chunk_id, 0.0))
        known = await self.chunks.chunks(scope, list(scores))
        return [found(Hit(chunk, scores[chunk.id])) for chunk in known]


def _query(state: State) -> str:
    return state.get("query") or state["standalone"]


def _ranked(query: str, around: Sequence[Fact]) -> list[ScoredFact]:
    """By the words they share with the question; those that share none are left out."""
    wanted = set(content_words(query))
    scored = [ScoredFact(fact, len(wanted & set(content_words(fact.text))) / max(1, len(wanted))) for fact in around]
    return sorted((each for each in scored if each.score > 0), key=lambda each: (-each.score, each.fact.id))


def _true_at(as_of: datetime | None, around: Sequence[Fact]) -> list[Fact]:
    if as_of is None:
        return list(around)
    return [
        fact
        for fact in around
        if (fact.valid_at is None or fact.valid_at <= as_of) and (fact.invalid_at is None or fact.invalid_at > as_of)
    ]


def _merged(path: Sequence[Fact], scored: Sequence[ScoredFact], near: Sequence[ScoredFact]) -> list[ScoredFact]:
    """Each fact once, at most MOST_FACTS. A step of the path counts as much as the best fact."""
    best = max((each.score for each in scored), default=1.0) or 1.0
    merged = {fact.id: ScoredFact(fact, best) for fact in path}
    lowest = min((each.score for each in scored), default=best)
    for each in (*scored, *(ScoredFact(each.fact, NEAR * lowest * each.score) for each in near)):
        merged.setdefault(each.fact.id, each)
    return list(merged.values())[:MOST_FACTS]


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
        memory=scored.fact.memory,
        documents=list(dict.fromkeys(each.document_id for each in evidence if each.document_id)),
    )
