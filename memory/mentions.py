"""Multi-hop without a language model: follow the names a passage mentions to the passages that are about them.

A chunk is the home of a name when its document's title, or the heading it opens, is that name. Homes are found at
ingestion and looked up by name (`facts.tables.homes`); the names a passage mentions are read off its text when it is
followed, which takes a tenth of a millisecond and lets old passages lead to homes that came later. Nothing is kept
in memory, so every replica gives the same answer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sqlalchemy import bindparam, select

from aegis.database import Database
from aegis.scope import Scope
from memory.facts.tables import entities, homes, mentions
from memory.hops import relates, starts
from memory.linking import linked
from memory.naming import asked, candidates, home_keys, longest
from retrieval.catalogue import DocumentFilter
from retrieval.chunk import Chunk
from retrieval.loaders.cleaning import clean
from retrieval.ranking import UNMOVED
from retrieval.search import Hit, Searcher, SearchRequest
from retrieval.tables import documents, versions, visible_at
from retrieval.wording import phrases

SOURCES = 5  # passages whose mentions are followed
BONUS = 0.3  # for the home of a name that the question itself holds
DECAY = 0.8  # a home's score is at least this share of the score of the passage that led to it
CANDIDATES = 100  # hits asked of the search below
COMMON = 0.2  # a name that a larger share of the candidates mentions says nothing: it is what all of them are about
START = 0.1  # the same, for a name that a question starts from
KEPT = 1  # hits that stay first where only the question's wording speaks for several hops
MAX_NAMES = 2000  # names looked up at a time
MAX_HOMES = 3  # a name with more homes than this is a stock heading ("Overview"), or too ambiguous to follow

_NAMES = (
    select(mentions.c.episode_id, entities.c.key)
    .join(entities, entities.c.id == mentions.c.entity_id)
    .where(mentions.c.episode_id.in_(bindparam("chunks", expanding=True)))
)

_HOMES = (
    select(homes.c.key, homes.c.chunk_id, documents.c.tags)
    .join(versions, versions.c.id == homes.c.version_id)
    .join(documents, documents.c.id == versions.c.document_id)
    .where(homes.c.collection.in_(bindparam("collections", expanding=True)))
    .where(homes.c.key.in_(bindparam("names", expanding=True)), visible_at(bindparam("epoch")))
    .order_by(homes.c.key, homes.c.chunk_id)
)


class Chunks(Protocol):
    """What is needed of `retrieval.catalogue.Catalogue`."""

    async def epoch(self) -> int: ...

    async def chunks(self, scope: Scope, ids: Sequence[str]) -> list[Chunk]: ...


Homes = Mapping[str, Sequence[str]]  # name -> ids of the chunks that are its homes
Shares = Mapping[str, float]  # name -> share of the candidates that mention it


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
        routed: bool = False,
    ) -> list[Hit]:
        """All hits and the homes they lead to, best first; scores are at most 1. Only what scope and filter allow.

        `routed`: only as far as the question needs several hops; the hits as they are where it does not.
        """
        newest = await self.catalogue.epoch()
        at = newest if epoch is None else min(epoch, newest)  # a later one may be half published
        eyes = _Eyes(scope, at, condition or DocumentFilter())
        names = await self._names(hits)
        shares = _shares(names, len(hits))
        kept = await self._kept(eyes, question, shares) if routed else 0
        if kept is None:
            return list(hits)
        ranked = await self._with_asked(eyes, question, _normalised(hits), shares)
        ranked = _normalised(linked(question, ranked, names))
        ranked = await self._with_mentioned(eyes, ranked, shares)
        return _keeping(hits[:kept], ranked)

    async def may_hop(self, scope: Scope, request: SearchRequest) -> bool:
        """False where the hits are sure to stay as they are, whatever they are."""
        newest = await self.catalogue.epoch()
        at = newest if request.known_at is None else min(request.known_at, newest)
        names = starts(request.query)
        return relates(request.query.lower()) or bool(await self._homes(_Eyes(scope, at, request.filter), names))

    async def _kept(self, eyes: _Eyes, question: str, shares: Shares) -> int | None:
        """How many of the first hits stay where they are; None when one hop is enough."""
        wanted = [name for name in starts(question) if shares.get(name, 0.0) <= START]
        if await self._homes(eyes, wanted):
            return 0
        return KEPT if relates(question.lower()) else None

    async def _names(self, hits: Sequence[Hit]) -> dict[str, Set[str]]:
        """Keys of what each hit mentions, and of what it is about."""
        found: dict[str, set[str]] = {hit.chunk.id: set(home_keys(hit.chunk.title)) for hit in hits}
        for chunk, name in await self.database.look(lambda c: c.execute(_NAMES, {"chunks": list(found)}).all()):
            found[chunk].add(name)
        return dict(found)

    async def _with_asked(self, eyes: _Eyes, question: str, hits: list[Hit], shares: Shares) -> list[Hit]:
        names = asked(question)
        found = await self._homes(eyes, [name for name in names if shares.get(name, 0.0) <= COMMON])
        wanted = [identifier for name in longest([names], found) for identifier in found[name]]
        by_id = await self._completed(eyes, hits, wanted)
        for identifier in dict.fromkeys(wanted):
            if identifier in by_id:
                by_id[identifier] = by_id[identifier].scored(by_id[identifier].score + BONUS)
        return _normalised(by_id.values())

    async def _with_mentioned(self, eyes: _Eyes, hits: list[Hit], shares: Shares) -> list[Hit]:
        sources = hits[:SOURCES]
        runs = [list(candidates(hit.chunk.text)) for hit in sources]
        wanted = [name for passage in runs for run in passage for name in run if shares.get(name, 0.0) <= COMMON]
        found = await self._homes(eyes, wanted)
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
        query = _HOMES.where(*eyes.conditions())
        given = {"collections": list(eyes.scope.collections), "names": keys, "epoch": eyes.epoch}
        found: dict[str, list[str]] = {}
        for name, identifier, tags in await self.database.look(lambda c: c.execute(query, given).all()):
            if set(eyes.filter.tags) <= set(tags):
                found.setdefault(name, []).append(identifier)
        return {name: ids for name, ids in found.items() if len(ids) <= MAX_HOMES}


@dataclass(frozen=True, slots=True)
class GraphSearcher:
    """`retrieval.search.Searcher` for the modes `graph` and `auto`: a hybrid search whose hits' mentions are followed,
    always, or as far as the question needs several hops."""

    hybrid: Searcher
    follower: MentionFollower

    async def search(self, scope: Scope, request: SearchRequest) -> list[Hit]:
        eyes = scope.narrowed(request.collection)
        if _plain(request) and not await self.follower.may_hop(eyes, request):
            return await self.hybrid.search(scope, replace(request, mode="hybrid", depth=CANDIDATES))
        wide = replace(request, mode="hybrid", top_k=max(CANDIDATES, request.top_k))
        hits = await self.hybrid.search(scope, wide)
        await asyncio.sleep(0)  # some milliseconds: others get their turn
        found = await self.follower.follow(
            eyes,
            request.query,
            hits,
            epoch=request.known_at,
            condition=request.filter,
            routed=request.mode == "auto",
        )
        return found[: request.top_k]


def _plain(request: SearchRequest) -> bool:
    """Whether the first hits of so many candidates are the same, however many of them are asked for."""
    chosen = request.collapse or request.diversity or phrases(clean(request.query))
    return request.mode == "auto" and not chosen and request.top_k <= UNMOVED


@dataclass(frozen=True, slots=True)
class _Eyes:
    """What a look-up may see."""

    scope: Scope
    epoch: int
    filter: DocumentFilter

    def conditions(self) -> list[Any]:
        """All of the filter but the tags, which are a JSON list."""
        wanted: list[Any] = []
        if self.filter.source is not None:
            wanted.append(documents.c.source == self.filter.source)
        if self.filter.type is not None:
            wanted.append(versions.c.media_type == self.filter.type)
        if self.filter.date_from is not None:
            wanted.append(versions.c.dated >= self.filter.date_from)
        if self.filter.date_to is not None:
            wanted.append(versions.c.dated <= self.filter.date_to)
        return wanted


def _normalised(hits: Iterable[Hit]) -> list[Hit]:
    """Best first, the best scored 1. Scores below 0 count as 0."""
    ranked = sorted(hits, key=lambda hit: -hit.score)
    top = ranked[0].score if ranked else 0.0
    return [hit.scored(max(hit.score, 0.0) / top if top > 0 else 0.0) for hit in ranked]


def _shares(names: Mapping[str, Set[str]], count: int) -> dict[str, float]:
    """Among few candidates none is common."""
    common = Counter(name for held in names.values() for name in held)
    return {name: times / max(count, CANDIDATES) for name, times in common.items()}


def _keeping(first: Sequence[Hit], ranked: Sequence[Hit]) -> list[Hit]:
    """Those first, then the others as ranked; no score above that of the hit before."""
    ids = {hit.chunk.id for hit in first}
    by_id = {hit.chunk.id: hit for hit in ranked}
    order = [*(by_id.get(hit.chunk.id, hit) for hit in first), *(hit for hit in ranked if hit.chunk.id not in ids)]
    top = max((hit.score for hit in order), default=0.0)
    return [hit.scored(top) if hit.chunk.id in ids else hit for hit in order]


def _led(hit: Hit, runs: Sequence[list[str]], found: Homes) -> list[str]:
    """Chunks that the names in this passage lead to. Its own title leads nowhere."""
    own = set(home_keys(hit.chunk.title))
    names = [name for name in longest(runs, found) if name not in own]
    return [identifier for name in names for identifier in found[name] if identifier != hit.chunk.id]
