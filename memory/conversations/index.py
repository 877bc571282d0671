"""Keyword and vector search over all turns of a user, wherever their bodies stand.

A turn alone is too short to match: it is scored by OWN x itself + CONTEXT x itself with the two turns before it, for
keywords and vectors alike; so are the best when they are looked at closer. There a turn that only asks counts less, and
one that stated a fact a little more: talk around a thing has its words, too. Both scores are linear, so the mixture is
made once, when a turn is indexed, and kept in the relational store. A process holds the vectors of those who searched
last and scores all of a user's turns exactly; rarity of words is counted among that user's turns alone.
"""

from __future__ import annotations

import array
import asyncio
import logging
import math
import re
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, RowMapping, bindparam, delete, func, select

from aegis.database import Database
from aegis.database.schema import insert_missing
from aegis.errors import AegisError
from aegis.scope import Scope
from memory.conversations.store import SqlConversations
from memory.conversations.tables import conversations, turns, unindexed, vectors
from memory.facts.tables import episodes
from retrieval import ranking
from retrieval.embedding import Embedder
from retrieval.interaction import DEPTH, Reranker, reranked
from retrieval.keywords import KeywordEncoder
from retrieval.proximity import nearness
from retrieval.search import dense_weight
from retrieval.store import Candidates, Dense, Scored, Sparse, missing

OWN, CONTEXT = 0.3, 0.7
BEFORE = 2  # turns that stand before a turn as its context
READ_CHARS = 4000  # of a turn
ASKING = 0.2  # off the score of a turn that asks and says nothing; .15 to .3 do about as well
STATING = 0.03  # on top of that of a turn that stated a fact; .02 to .05 do about as well
BATCH = 50  # turns indexed in one transaction
PAGE = 2000  # rows read at a time
BLOCK = 4096  # vectors compared at a time
OVERLAP = timedelta(seconds=60)  # rows that another replica committed later than it dated them
MOST_TURNS = 200_000  # in the memory of one process, of all users it holds; some 800 bytes each


_SENTENCES = re.compile(r"[^.!?。？！؟\n]+[.!?。？！؟]*")

logger = logging.getLogger(__name__)

Place = tuple[str, int]
"""Conversation and ordinal."""


@dataclass(frozen=True, slots=True)
class _Query:
    dense: Dense
    terms: Sparse
    weight: float


class _Shelf:
    """One user's turns in memory, in order of arrival."""

    def __init__(self) -> None:
        self.newest: datetime | None = None
        self.ids: list[str] = []
        self._rows: dict[str, int] = {}
        self._conversations: dict[str, int] = {}
        self._of = array.array("l")  # conversation by row
        self._dense: list[NDArray[np.float16]] = []
        self._postings: dict[int, tuple[array.array[int], array.array[float]]] = defaultdict(
            lambda: (array.array("l"), array.array("f"))
        )

    def add(self, rows: Sequence[RowMapping]) -> None:
        for row in rows:
            self.newest = max(self.newest or row["written_at"], row["written_at"])
            if row["turn_id"] in self._rows:
                continue
            place = self._rows[row["turn_id"]] = len(self.ids)
            self.ids.append(row["turn_id"])
            self._of.append(self._conversations.setdefault(row["conversation_id"], len(self._conversations)))
            self._dense.append(np.frombuffer(row["dense"], dtype="<f2"))
            terms, weights = np.frombuffer(row["terms"], "<u4"), np.frombuffer(row["weights"], "<f2")
            for term, weight in zip(terms.tolist(), weights.tolist(), strict=True):
                postings = self._postings[term]
                postings[0].append(place)
                postings[1].append(weight)

    def search(self, query: _Query, limit: int, conversation_id: str | None, words_only: bool) -> list[Scored]:
        if not self.ids:
            return []
        among = self._among(conversation_id)
        by_words = self._by_keywords(query.terms)
        keywords = self._best(by_words, among, limit, least=1e-6)
        if words_only:
            return keywords
        by_meaning = self._by_vectors(query.dense)
        dense = self._best(by_meaning, among, limit, least=0.0)
        rests = self._scored(missing(dense, keywords), by_meaning), self._scored(missing(keywords, dense), by_words)
        return ranking.convex(Candidates(dense, keywords, *rests), query.weight, limit)

    def _scored(self, ids: Sequence[str], scores: NDArray[np.float32]) -> list[Scored]:
        return [Scored(turn, float(scores[self._rows[turn]])) for turn in ids]

    def _by_keywords(self, query: Sparse) -> NDArray[np.float32]:
        scores, count = np.zeros(len(self.ids), np.float32), len(self.ids)
        for term, wanted in zip(query.indices, query.values, strict=True):
            if term not in self._postings:
                continue
            places, weights = (np.array(part) for part in self._postings[term])
            rarity = math.log(1 + (count - len(places) + 0.5) / (len(places) + 0.5))
            scores[places] += (wanted * rarity * weights).astype(np.float32)
        return scores

    def _by_vectors(self, query: Dense) -> NDArray[np.float32]:
        starts = range(0, len(self._dense), BLOCK)
        parts = (np.stack(self._dense[start : start + BLOCK]).astype(np.float32) @ query for start in starts)
        return np.concatenate(list(parts))

    def _among(self, conversation_id: str | None) -> NDArray[np.bool_] | None:
        if conversation_id is None:
            return None
        return np.array(self._of) == self._conversations.get(conversation_id, -1)

    def _best(
        self, scores: NDArray[np.float32], among: NDArray[np.bool_] | None, limit: int, least: float
    ) -> list[Scored]:
        wanted = scores > least if among is None else (scores > least) & among
        (places,) = np.nonzero(wanted)
        best = places[np.argsort(-scores[places], kind="stable")[:limit]]
        return [Scored(self.ids[place], float(scores[place])) for place in best]


class TurnIndex:
    """`store` gives the turns' texts, from whatever tier."""

    def __init__(
        self,
        database: Database,
        store: SqlConversations,
        embedder: Embedder,
        keywords: KeywordEncoder,
        clock: Callable[[], datetime],
        reranker: Reranker | None = None,
    ) -> None:
        self._database = database
        self._store = store
        self._embedder = embedder
        self._keywords = keywords
        self._clock = clock
        self._reranker = reranker
        self._encoder = f"{embedder.name}+{keywords.name}"
        self._shelves: OrderedDict[str, _Shelf] = OrderedDict()  # by user, who searched last at the end
        self._filling = asyncio.Lock()

    async def search(
        self,
        scope: Scope,
        text: str,
        *,
        limit: int,
        conversation_id: str | None = None,
        words_only: bool = False,
    ) -> list[Scored]:
        """Ids of the user's turns, best first; those erased meanwhile may be among them. `words_only`: only turns
        that share a word with the text."""
        await self._caught_up(scope)
        dense = (await self._embedder.embed([text]))[0]
        query = _Query(dense, self._keywords.query(text), dense_weight(self._embedder.name))
        async with self._filling:
            shelf = await self._filled(scope)
            found = await asyncio.to_thread(shelf.search, query, max(limit, DEPTH), conversation_id, words_only)
        return (found if words_only else await self._reranked(scope, text, found))[:limit]

    async def _reranked(self, scope: Scope, text: str, found: Sequence[Scored]) -> list[Scored]:
        """The first of them looked at closer, again each by itself and in its context."""
        places = await self._places([hit.id for hit in found[:DEPTH]])
        texts = await self._texts(scope, places)
        kept = [hit for hit in found if hit.id not in places or places[hit.id] in texts]
        near_hits = [hit for hit in kept if hit.id in places]
        near = [places[hit.id] for hit in near_hits]
        both = [_in_context(place, texts) for place in near]
        closer = reranked(kept, self._meant(text, [texts[place] for place in near], both), nearness(text, both))
        stating = await self._stating(places)
        told = {hit.id: STATING * (hit.id in stating) - ASKING * _asks(texts[places[hit.id]]) for hit in near_hits}
        return ranking.ranked({hit.id: hit.score + told.get(hit.id, 0.0) for hit in closer})

    async def _stating(self, ids: Collection[str]) -> set[str]:
        """Those from which the graph memory has learnt something."""
        query = select(episodes.c.id).where(episodes.c.id.in_(list(ids)))
        async with self._database.read() as connection:
            return set((await connection.execute(query)).scalars())

    def _meant(self, text: str, own: Sequence[str], both: Sequence[str]) -> list[float] | None:
        if self._reranker is None:
            return None
        alone, together = self._reranker.scores(text, own), self._reranker.scores(text, both)
        return [OWN * one + CONTEXT * other for one, other in zip(alone, together, strict=True)]

    async def _caught_up(self, scope: Scope) -> None:
        try:
            await self.catch_up(scope)
        except AegisError as error:  # an archive out of reach, say: what is indexed can be searched
            logger.warning("The newest turns cannot be found yet: %s", error)

    def forget(self, user: str) -> None:
        """What is in memory; it is read again with the next search."""
        self._shelves.pop(user, None)

    async def renew(self) -> None:
        """Note down what another encoder has indexed, to be indexed anew."""
        others = select(vectors.c.turn_id, vectors.c.owner).where(vectors.c.encoder != self._encoder)
        async with self._database.write() as connection:
            new = insert_missing(unindexed, connection.dialect.name)
            await connection.execute(new.from_select(["turn_id", "owner"], others))

    async def progress(self, beyond: int = BATCH) -> tuple[int, int] | None:
        """(indexed, all) turns while more than `beyond` wait, as after another encoder's; None otherwise."""
        waiting = select(func.count()).select_from(unindexed)
        known = select(vectors.c.turn_id).where(vectors.c.turn_id == unindexed.c.turn_id)
        async with self._database.read() as connection:
            left = int((await connection.execute(waiting)).scalar_one())
            if left <= beyond:
                return None
            held = int((await connection.execute(select(func.count()).select_from(vectors))).scalar_one())
            fresh = int((await connection.execute(waiting.where(~known.exists()))).scalar_one())
        return held + fresh - left, held + fresh

    async def catch_up(self, scope: Scope | None = None) -> None:
        """Index all turns that are not yet, of one user or of all. Raises StoreUnavailable."""
        while await self._advance(scope) == BATCH:  # what comes meanwhile is next time's: else each is indexed alone
            pass

    async def _advance(self, scope: Scope | None) -> int:
        """Index some; how many."""
        query = _WAITING if scope is None else _WAITING.where(unindexed.c.owner == scope.user)
        waiting = await self._database.look(lambda c: {row.turn_id: row.owner for row in c.execute(query)})
        for owner in set(waiting.values()):
            await self._index(Scope(owner), [one for one, whose in waiting.items() if whose == owner])
        return len(waiting)

    async def _index(self, scope: Scope, ids: Sequence[str]) -> None:
        places = await self._places(ids)
        texts = await self._texts(scope, places)
        kept = {turn: place for turn, place in places.items() if place in texts}
        vectors = await self._encoded(
            [texts[place] for place in kept.values()], [_in_context(place, texts) for place in kept.values()]
        )
        rows = [
            self._row(scope, turn, place, dense, terms)
            for (turn, place), dense, terms in zip(kept.items(), *vectors, strict=True)
        ]
        if await self._database.transact(lambda c: _written(c, ids, rows)):
            self._shelves.clear()  # a turn that was finished again; seldom

    async def _encoded(self, own: Sequence[str], both: Sequence[str]) -> tuple[NDArray[Any], list[Sparse]]:
        """Each text once: a turn that opens its conversation is its own context, and many a question comes again."""
        places = {text: place for place, text in enumerate(dict.fromkeys([*own, *both]))}
        dense = await self._embedder.embed(list(places))
        sparse = await asyncio.to_thread(self._keywords.documents, list(places))
        alone, together = [places[text] for text in own], [places[text] for text in both]
        terms = [_mixed(sparse[one], sparse[other]) for one, other in zip(alone, together, strict=True)]
        return OWN * dense[alone] + CONTEXT * dense[together], terms

    def _row(self, scope: Scope, turn_id: str, place: Place, dense: Dense, terms: Sparse) -> dict[str, Any]:
        return {
            "turn_id": turn_id,
            "owner": scope.user,
            "conversation_id": place[0],
            "encoder": self._encoder,
            "dense": dense.astype("<f2").tobytes(),
            "terms": np.array(terms.indices, "<u4").tobytes(),
            "weights": np.array(terms.values, "<f2").tobytes(),
            "written_at": self._clock(),
        }

    async def _places(self, ids: Sequence[str]) -> Mapping[str, Place]:
        """By turn."""
        return await self._database.look(lambda c: _by_id(c.execute(_PLACES, {"turns": ids})))

    async def _texts(self, scope: Scope, places: Mapping[str, Place]) -> Mapping[Place, str]:
        """What was said in these turns and those before them, by place."""
        wanted = {(talk, number - back) for talk, number in places.values() for back in range(BEFORE + 1)}
        given = {"talks": list({talk for talk, _ in wanted}), "ordinals": list({number for _, number in wanted})}
        there = await self._database.look(lambda c: _by_id(c.execute(_AROUND, given)))
        found = await self._store.said(scope, [one for one, place in there.items() if place in wanted])
        return {there[turn_id]: "\n".join(words)[:READ_CHARS] for turn_id, words in found.items()}

    async def _filled(self, scope: Scope) -> _Shelf:
        shelf = self._shelves.pop(scope.user, None) or _Shelf()
        query = (
            select(vectors)
            .join(conversations, conversations.c.id == vectors.c.conversation_id)
            .where(vectors.c.owner == scope.user, vectors.c.encoder == self._encoder)
            .order_by(vectors.c.written_at, vectors.c.turn_id)
        )
        after, passed = (shelf.newest - OVERLAP if shelf.newest else None), 0
        while True:
            fresh = query if after is None else query.where(vectors.c.written_at >= after)
            async with self._database.read() as connection:
                rows = (await connection.execute(fresh.offset(passed).limit(PAGE))).mappings().all()
            await asyncio.to_thread(shelf.add, rows)
            passed += len(rows)
            if len(rows) < PAGE:
                break
        self._shelves[scope.user] = shelf
        while len(self._shelves) > 1 and sum(len(one.ids) for one in self._shelves.values()) > MOST_TURNS:
            self._shelves.popitem(last=False)
        return shelf


_WAITING = select(unindexed.c.turn_id, unindexed.c.owner).limit(BATCH)
_PLACE = select(turns.c.id, turns.c.conversation_id, turns.c.ordinal)
_PLACES = _PLACE.where(turns.c.id.in_(bindparam("turns", expanding=True)))
_AROUND = _PLACE.where(
    turns.c.conversation_id.in_(bindparam("talks", expanding=True)),
    turns.c.ordinal.in_(bindparam("ordinals", expanding=True)),
)
_THERE = select(turns.c.id).where(turns.c.id.in_(bindparam("turns", expanding=True)))
_DONE, _OLD = (delete(of).where(of.c.turn_id.in_(bindparam("turns", expanding=True))) for of in (unindexed, vectors))


def _by_id(rows: Iterable[Any]) -> dict[str, Place]:
    return {row.id: (row.conversation_id, row.ordinal) for row in rows}


def _written(connection: Connection, ids: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether other rows of these turns had to go first."""
    given = {"turns": ids}
    connection.execute(_DONE, given)
    again = bool(connection.execute(_OLD, given).rowcount)
    known = set(connection.execute(_THERE, given).scalars())  # a turn may have been erased meanwhile
    if fresh := [row for row in rows if row["turn_id"] in known]:
        connection.execute(insert_missing(vectors, connection.dialect.name), fresh)
    return again


def _asks(said: str) -> float:
    """The share of its sentences' characters that ask."""
    lengths = [(len(part), part.rstrip().endswith(("?", "？", "؟"))) for part in _SENTENCES.findall(said)]
    return sum(length for length, asks in lengths if asks) / max(1, sum(length for length, _ in lengths))


def _in_context(place: Place, texts: Mapping[Place, str]) -> str:
    talk, number = place
    before = (texts.get((talk, number - back)) for back in range(BEFORE, 0, -1))
    return "\n".join([*(said for said in before if said is not None), texts[place]])


def _mixed(own: Sparse, both: Sparse) -> Sparse:
    mixed: dict[int, float] = defaultdict(float)
    for share, part in ((OWN, own), (CONTEXT, both)):
        for term, weight in zip(part.indices, part.values, strict=True):
            mixed[term] += share * weight
    return Sparse(tuple(mixed), tuple(mixed.values()))
