"""Multi-hop without a language model: follow the names a passage mentions to the passages that are about them.

A chunk is the home of a name when its document's title, or the heading it opens, is that name. Homes are found at
ingestion and looked up by name (`facts.tables.homes`); the names a passage mentions are read off its text when it is
followed, which takes a tenth of a millisecond and lets old passages lead to homes that came later. Nothing is kept
in memory, so every replica gives the same answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sqlalchemy import and_, select

from aegis.database import Database
from aegis.scope import Scope
from memory.facts.tables import homes
from memory.naming import asked, candidates, home_keys, longest
from retrieval.catalogue import Chunk, DocumentFilter, documents, versions, visible_at
from retrieval.search import Hit, Searcher, SearchRequest

SOURCES = 5  # passages whose mentions are followed
BONUS = 0.3  # for the home of a name that the question itself holds
DECAY = 0.8  # a home's score is at least this share of the score of the passage that led to it
CANDIDATES = 50  # hits asked of the search below
MAX_NAMES = 2000  # names looked up at a time
MAX_HOMES = 3  # a name with more homes than this is a stock heading ("Overview"), or too ambiguous to follow


class Chunks(Protocol):
    """What is needed of `retrieval.catalogue.Catalogue`."""

    async def epoch(self) -> int: ...

    async def chunks(self, scope: Scope, ids: Sequence[str]) -> list[Chunk]: ...


Homes = Mapping[str, Sequence[str]]  # name -> ids of the chunks that are its homes


@dataclass(frozen=True, slots=True)
class MentionFollower:
    database: Database
    catalogue: Chunks

    async def follow(
        self,
        scope: Scope,
        question: str,
        hits: Sequence[Hit],
        *,
        epoch: int | None = None,
        condition: DocumentFilter | None = None,
    ) -> list[Hit]:
        """All hits and the homes they lead to, best first; scores are at most 1. Only what scope and filter allow."""
        newest = await self.catalogue.epoch()
        at = newest if epoch is None else min(epoch, newest)  # a later one may be half published
        eyes = _Eyes(scope, at, condition or DocumentFilter())
        ranked = await self._with_asked(eyes, question, _normalised(hits))
        return await self._with_mentioned(eyes, ranked)

    async def _with_asked(self, eyes: _Eyes, question: str, hits: list[Hit]) -> list[Hit]:
        names = asked(question)
        found = await self._homes(eyes, names)
        wanted = [identifier for name in longest([names], found) for identifier in found[name]]
        by_id = await self._completed(eyes, hits, wanted)
        for identifier in dict.fromkeys(wanted):
            if identifier in by_id:
                by_id[identifier] = by_id[identifier].scored(by_id[identifier].score + BONUS)
        return _normalised(by_id.values())

    async def _with_mentioned(self, eyes: _Eyes, hits: list[Hit]) -> list[Hit]:
        sources = hits[:SOURCES]
        runs = [list(candidates(hit.chunk.text)) for hit in sources]
        found = await self._homes(eyes, [name for passage in runs for run in passage for name in run])
        led = [_led(hit, passage, found) for hit, passage in zip(sources, runs, strict=True)]
        by_id = await self._completed(eyes, hits, [identifier for ids in led for identifier in ids])
        for source, ids in zip(sources, led, strict=True):
            for identifier in ids:
                home = by_id.get(identifier)
                if home is not None and home.score < DECAY * source.score:
                    via = (*source.via, source.chunk.id)
                    by_id[identifier] = replace(home, score=DECAY * source.score, via=via)
        return sorted(by_id.values(), key=lambda hit: -hit.score)

    async def _completed(self, eyes: _Eyes, hits: Sequence[Hit], ids: Iterable[str]) -> dict[str, Hit]:
        """The hits by chunk id, with those chunks added, at score 0, that were not among them."""
        by_id = {hit.chunk.id: hit for hit in hits}
        missing = list(dict.fromkeys(identifier for identifier in ids if identifier not in by_id))
        if missing:
            added = await self.catalogue.chunks(eyes.scope, missing)
            by_id.update((chunk.id, Hit(chunk, 0.0)) for chunk in added)
        return by_id

    async def _homes(self, eyes: _Eyes, names: Iterable[str]) -> dict[str, list[str]]:
        """Homes of these names that these eyes see, in order of chunk id; names with too many are left out."""
        keys = list(dict.fromkeys(names))[:MAX_NAMES]
        if not keys:
            return {}
        query = (
            select(homes.c.key, homes.c.chunk_id, documents.c.tags)
            .join(versions, versions.c.id == homes.c.version_id)
            .join(documents, documents.c.id == versions.c.document_id)
            .where(homes.c.collection.in_(eyes.scope.collections), homes.c.key.in_(keys), eyes.condition())
            .order_by(homes.c.key, homes.c.chunk_id)
        )
        found: dict[str, list[str]] = {}
        async with self.database.read() as connection:
            for name, identifier, tags in await connection.execute(query):
                if set(eyes.filter.tags) <= set(tags):
                    found.setdefault(name, []).append(identifier)
        return {name: ids for name, ids in found.items() if len(ids) <= MAX_HOMES}


@dataclass(frozen=True, slots=True)
class GraphSearcher:
    """`retrieval.search.Searcher` for mode `graph`: a hybrid search whose hits' mentions are followed."""

    hybrid: Searcher
    follower: MentionFollower

    async def search(self, scope: Scope, request: SearchRequest) -> list[Hit]:
        wide = replace(request, mode="hybrid", top_k=max(CANDIDATES, request.top_k))
        hits = await self.hybrid.search(scope, wide)
        eyes = scope.narrowed(request.collection)
        found = await self.follower.follow(eyes, request.query, hits, epoch=request.known_at, condition=request.filter)
        return found[: request.top_k]


@dataclass(frozen=True, slots=True)
class _Eyes:
    """What a look-up may see."""

    scope: Scope
    epoch: int
    filter: DocumentFilter

    def condition(self) -> Any:
        """All of the filter but the tags, which are a JSON list."""
        wanted = [visible_at(self.epoch)]
        if self.filter.source is not None:
            wanted.append(documents.c.source == self.filter.source)
        if self.filter.type is not None:
            wanted.append(versions.c.media_type == self.filter.type)
        if self.filter.date_from is not None:
            wanted.append(versions.c.dated >= self.filter.date_from)
        if self.filter.date_to is not None:
            wanted.append(versions.c.dated <= self.filter.date_to)
        return and_(*wanted)


def _normalised(hits: Iterable[Hit]) -> list[Hit]:
    """Best first, the best scored 1. Scores below 0 count as 0."""
    ranked = sorted(hits, key=lambda hit: -hit.score)
    top = ranked[0].score if ranked else 0.0
    return [hit.scored(max(hit.score, 0.0) / top if top > 0 else 0.0) for hit in ranked]


def _led(hit: Hit, runs: Sequence[list[str]], found: Homes) -> list[str]:
    """Chunks that the names in this passage lead to. Its own title leads nowhere."""
    own = set(home_keys(hit.chunk.title))
    names = [name for name in longest(runs, found) if name not in own]
    return [identifier for name in names for identifier in found[name] if identifier != hit.chunk.id]
