"""The facts port in memory: for tests that need facts and no store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from aegis.errors import NotFound
from aegis.scope import Scope, Span, derived_id
from memory.extraction import RuleExtractor
from memory.facts import Entity, Evidence, Fact, ScoredFact
from memory.naming import asked, key
from retrieval.loaders.document import LoadedDocument
from retrieval.splitting import Piece


@dataclass
class FakeFacts:
    """Documents of one chunk each. Every search is a scan."""

    rows: list[tuple[Fact, str, tuple[int, int]]] = field(default_factory=list[tuple[Fact, str, tuple[int, int]]])
    epoch: int = 0

    def put(self, title: str, text: str, collection: str, visible: tuple[int, int]) -> None:
        piece = Piece(Span(0, len(text)), text, None, None)
        (extract,) = RuleExtractor().extract(LoadedDocument(text, title, "text/plain"), [piece])
        named = {
            found.key: Entity(derived_id("entity", collection, found.key), found.name) for found in extract.entities
        }
        for found in extract.facts:
            identifier = derived_id("fact", collection, found.source, found.relation, found.target, found.text)
            proof = Evidence(title, f"{title} {visible[0]}", title, Span(found.start, found.end), found.quote)
            ends = (named[found.source], named[found.target])
            fact = Fact(identifier, found.text, found.relation, *ends, None, None, (proof,))
            self.rows.append((fact, collection, visible))

    def _seen(self, scope: Scope, epoch: int | None = None) -> list[Fact]:
        at = self.epoch if epoch is None else min(epoch, self.epoch)
        seen = [
            fact
            for fact, collection, visible in self.rows
            if scope.may_read(collection) and visible[0] <= at < visible[1]
        ]
        return list({fact.id: fact for fact in seen}.values())

    async def search(
        self, scope: Scope, query: str, *, limit: int = 10, epoch: int | None = None, as_of: datetime | None = None
    ) -> list[ScoredFact]:
        wanted = asked(query)
        found = [
            ScoredFact(fact, sum(word in key(fact.text) for word in wanted))
            for fact in self._seen(scope, epoch)
            if {key(fact.source.name), key(fact.target.name)} & set(wanted)
        ]
        return sorted(found, key=lambda scored: -scored.score)[:limit]

    async def entities_named(self, scope: Scope, names: Sequence[str]) -> list[Entity]:
        wanted = {key(name) for name in names}
        ends = [end for fact in self._seen(scope) for end in (fact.source, fact.target)]
        return list({end.id: end for end in ends if key(end.name) in wanted}.values())

    async def fact(self, scope: Scope, fact_id: str) -> Fact:
        for fact in self._seen(scope):
            if fact.id == fact_id:
                return fact
        raise NotFound(f"There is no fact {fact_id}.")

    async def page(self, scope: Scope, *, after: str = "", limit: int = 100) -> list[Fact]:
        later = [fact for fact in self._seen(scope) if fact.id > after]
        return sorted(later, key=lambda fact: fact.id)[:limit]

    async def totals(self, scope: Scope) -> tuple[int, int]:
        seen = self._seen(scope)
        return len({end.id for fact in seen for end in (fact.source, fact.target)}), len(seen)
