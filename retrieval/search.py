"""Question -> ranked hits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, Protocol, TypeVar

from aegis.errors import InvalidInput, TooLarge, Unavailable
from aegis.scope import Scope, Span
from aegis.settings import Fusion, RetrievalSettings
from aegis.telemetry import HITS, timed
from inference.paying import paid_by
from retrieval import ranking
from retrieval.catalogue import Catalogue, DocumentFilter
from retrieval.chunk import Chunk
from retrieval.diversity import folded, spread
from retrieval.embedding import Embedder
from retrieval.interaction import DEPTH, Reader, Reranker, reranked
from retrieval.keywords import KeywordEncoder
from retrieval.loaders.cleaning import clean
from retrieval.loaders.formats import media_types
from retrieval.proximity import nearness
from retrieval.store import Candidates, Dense, PointFilter, Scored, VectorQuery, VectorStore
from retrieval.wording import added, holds, phrases

Mode = Literal["hybrid", "vector", "keyword", "graph", "auto"]  # auto: graph where the question needs it
Answer = TypeVar("Answer")

MAX_TOP_K = 100
QUOTED_DEPTH = 200  # candidates among which a quoted phrase is looked for
SPARE = 10  # hits beyond twice `top_k` that may take the place of near-duplicates
LEAST_DEPTH = 40  # candidates whose rows are read, at least: title and neighbours can lift no other

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk and its score (higher is better, comparable within one search only)."""

    chunk: Chunk
    score: float
    via: tuple[str, ...] = ()  # chunk ids that a mention led from, nearest last; empty when found by itself
    duplicates: tuple[str, ...] = ()  # chunk ids of near-duplicates that were folded into it

    def scored(self, score: float) -> Hit:
        return Hit(self.chunk, score, self.via, self.duplicates)  # some hundred in a search; `replace` takes four times

    @property
    def span(self) -> Span:
        return self.chunk.span


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """`known_at` is an epoch; `as_of` a moment compared with documents' and facts' own dates."""

    query: str
    mode: Mode = "hybrid"
    top_k: int = 10
    filter: DocumentFilter = field(default_factory=DocumentFilter)
    collection: str | None = None
    as_of: datetime | None = None
    known_at: int | None = None
    depth: int = 0  # candidates to choose from, at least
    rerank: bool = False  # all candidates instead of the first 25
    fusion: Fusion | None = None  # of the two halves; None: as the settings say
    collapse: bool = False  # fold near-duplicates into the best of them
    diversity: float = 0.0  # 0 to 1: how much a hit loses by being like those before it
    stays: bool = False  # the query must not leave this machine: an embedder elsewhere does not see it


class Searcher(Protocol):
    async def search(self, scope: Scope, request: SearchRequest) -> list[Hit]:
        """Best first, at most `top_k`. Raises IndexUnavailable, InvalidInput."""
        ...


@dataclass(frozen=True, slots=True)
class HybridSearcher:
    """Keyword and vector search over the vector store, fused here by score, so that every engine ranks alike.

    Reciprocal ranks and distribution-based scores, where they are asked for, are the engine's and stay as they are.
    Modes `graph` and `auto` are answered like `hybrid`: following mentions starts from these candidates, one layer up.
    """

    store: VectorStore
    embedder: Embedder
    keywords: KeywordEncoder
    catalogue: Catalogue
    settings: RetrievalSettings
    max_query_chars: int = 8000
    reranker: Reranker | None = None
    reader: Reader | None = None  # takes the reranker's place while it answers in time

    async def search(self, scope: Scope, request: SearchRequest) -> list[Hit]:
        """Best first, at most `top_k`. Raises IndexUnavailable, InvalidInput, TooLarge."""
        hits = _distinct(await self.candidates(scope, request), request)
        HITS.labels(request.mode).observe(len(hits))
        return hits

    async def candidates(self, scope: Scope, request: SearchRequest) -> list[Hit]:
        """What `search` chooses from: best first, `top_k` or 40, whichever is more, less what the epoch hides."""
        text = self._checked(request)
        filter = await self._filter(scope, request)
        if filter is None:
            return []
        quoted = phrases(text)
        depth = max(QUOTED_DEPTH if quoted else LEAST_DEPTH, request.top_k, request.depth)
        with paid_by(scope.user):
            return await self._best(scope, text, request, filter, depth, quoted)

    async def _best(
        self, scope: Scope, text: str, request: SearchRequest, filter: PointFilter, depth: int, quoted: Sequence[str]
    ) -> list[Hit]:
        hits = await self._ranked(scope, text, request, filter, depth)
        if self._ours(request) and (more := added(text, await self._lending(hits[:DEPTH], request))):
            hits = await self._ranked(scope, f"{text} {' '.join(more)}", request, filter, depth)
        if self._ours(request):
            hits = await self._with_surroundings(scope, hits, request.top_k)
        return sorted(hits, key=lambda hit: not holds(hit.chunk.text, quoted)) if quoted else hits

    async def _lending(self, hits: Sequence[Hit], request: SearchRequest) -> list[str]:
        """Texts whose words may be asked for as well: those of private documents where the embedder is here only."""
        private = frozenset[str]()
        if self.embedder.elsewhere and not request.stays:
            private = await self.catalogue.private(hit.chunk.document_id for hit in hits)
        return [hit.chunk.text for hit in hits if hit.chunk.document_id not in private]

    async def _ranked(
        self, scope: Scope, text: str, request: SearchRequest, filter: PointFilter, depth: int
    ) -> list[Hit]:
        found = await self._found(text, request, filter, max(self.settings.candidates, depth))
        hits = await self._hits(scope, text, found[:depth], learn=self._ours(request))
        if not (self._ours(request) or request.rerank):
            return hits
        if depth > LEAST_DEPTH:
            await asyncio.sleep(0)  # some milliseconds: others get their turn
        return await self._reranked(text, hits, depth if request.rerank else 0)

    async def _with_surroundings(self, scope: Scope, hits: Sequence[Hit], top_k: int) -> list[Hit]:
        """With what stands just before and after the best: of the same version, so whoever sees one sees the other."""
        scored = [Scored(hit.chunk.id, hit.score) for hit in hits]
        leading = ranking.leading(scored, top_k)
        if not leading:
            return list(hits)
        beside = await self.catalogue.beside(scope, [found.id for found in leading])
        known = {chunk.id: Hit(chunk, 0.0) for others in beside.values() for chunk in others}
        known |= {hit.chunk.id: hit for hit in hits}
        raised = ranking.with_surroundings(scored, {one: [c.id for c in others] for one, others in beside.items()})
        return [known[found.id].scored(found.score) for found in raised]

    def _ours(self, request: SearchRequest) -> bool:
        return request.mode in ("hybrid", "graph") and self._fusion(request) == "convex"

    def _fusion(self, request: SearchRequest) -> Fusion:
        return request.fusion or self.settings.fusion

    async def halves(self, scope: Scope, request: SearchRequest, limit: int, document: str = "") -> Candidates:
        """What each half finds, best first, with the engine's own scores; in one document only, where it is named."""
        text = self._checked(request)
        filter = await self._filter(scope, request)
        if filter is None or (document and filter.documents and document not in filter.documents):
            return Candidates()
        chosen = replace(filter, documents=(document,)) if document else filter
        with paid_by(scope.user):
            return await _observed(self.store.query(await self._query(text, request, chosen, limit)))

    async def _reranked(self, text: str, hits: Sequence[Hit], depth: int) -> list[Hit]:
        """`depth`: candidates looked at; 0: as many as whoever looks does by default."""
        scored = [Scored(hit.chunk.id, hit.score) for hit in hits]
        mixed = await self._read(text, hits, scored, depth)
        if mixed is None:
            passages = [hit.chunk.embedded_text for hit in hits[: depth or DEPTH]]
            if depth > DEPTH:
                looked = await asyncio.to_thread(self._closer, text, passages)
            else:  # about a millisecond: cheaper than a thread
                looked = self._closer(text, passages)
            mixed = reranked(scored, *looked)
        by_id = {hit.chunk.id: hit for hit in hits}
        return [by_id[found.id].scored(found.score) for found in mixed]

    async def _read(self, text: str, hits: Sequence[Hit], scored: Sequence[Scored], depth: int) -> list[Scored] | None:
        """None where no model reads, or none did in time."""
        if self.reader is None or not hits:
            return None
        passages = [hit.chunk.embedded_text for hit in hits[: depth or self.reader.depth]]
        with timed("reranker", "read"):
            meant = await self.reader.scores(text, passages)
        return None if meant is None else reranked(scored, meant, nearness(text, passages), self.reader.share)

    def _closer(self, text: str, passages: Sequence[str]) -> tuple[list[float] | None, list[float]]:
        meant = None if self.reranker is None else self.reranker.scores(text, passages)
        return meant, nearness(text, passages)

    def _checked(self, request: SearchRequest) -> str:
        text = clean(request.query).strip()
        if not text:
            raise InvalidInput("The query is empty. Say what to look for.")
        if len(text) > self.max_query_chars:
            raise TooLarge(
                f"The query has {len(text):,} characters; at most {self.max_query_chars:,} are taken. Shorten it.",
                limit=self.max_query_chars,
            )
        if not 1 <= request.top_k <= MAX_TOP_K:
            raise InvalidInput(f"top_k is {request.top_k}; it must be 1 to {MAX_TOP_K}.", top_k=request.top_k)
        return text

    async def _filter(self, scope: Scope, request: SearchRequest) -> PointFilter | None:
        """None when it is clear beforehand that nothing can be found."""
        eyes, wanted = scope.narrowed(request.collection), request.filter
        newest = await self.catalogue.epoch()
        # A later epoch than the newest may be half published.
        epoch = newest if request.known_at is None else min(request.known_at, newest)
        if not eyes.collections or epoch < 0:
            return None
        documents: tuple[str, ...] = ()
        if wanted.source is not None:
            documents = await self.catalogue.documents_from(eyes, wanted.source)
            if not documents:
                return None
        return PointFilter(
            collections=eyes.collections,
            epoch=epoch,
            documents=documents,
            types=media_types(wanted.type) if wanted.type is not None else (),
            tags=wanted.tags,
            date_from=_timestamp(wanted.date_from),
            date_to=_earlier(_timestamp(wanted.date_to), _timestamp(request.as_of)),
        )

    async def _found(self, text: str, request: SearchRequest, filter: PointFilter, limit: int) -> list[Scored]:
        query = await self._query(text, request, filter, limit)
        if query.dense is None and query.sparse is None:
            return []
        fusion = self._fusion(request)
        if query.dense is None or query.sparse is None:
            candidates = await _observed(self.store.query(query))
            return ranking.normalised(candidates.dense or candidates.sparse)
        if fusion != "convex":
            return await _observed(self.store.fused(query, fusion, _given(self.settings.dense_weight, 0.5)))
        weight = _given(self.settings.dense_weight, dense_weight(self.embedder.name))
        return ranking.convex(await _observed(self.store.query(query)), weight, limit)

    async def _query(self, text: str, request: SearchRequest, filter: PointFilter, limit: int) -> VectorQuery:
        unseen = request.stays and self.embedder.elsewhere
        dense = None if unseen else await self._embedded(text, request.mode)
        sparse = None if request.mode == "vector" and not unseen else self.keywords.query(text)
        # None where nothing but punctuation or stop words was asked.
        return VectorQuery(filter, limit, dense, sparse if sparse is not None and sparse.indices else None)

    async def _embedded(self, text: str, mode: Mode) -> Dense | None:
        """None where only words are compared: asked so, or because the embedding server is away."""
        if mode == "keyword":
            return None
        try:
            with timed("embedder", "query"):
                return await self.embedder.embed_query(text)
        except Unavailable as error:
            if mode == "vector":
                raise
            logger.warning("Searching by keywords only: %s", error)
            return None

    async def _hits(self, scope: Scope, text: str, found: Sequence[Scored], *, learn: bool) -> list[Hit]:
        """With the chunks' rows; `learn`: from titles and neighbours too."""
        rows = await self.catalogue.chunks(scope, [scored.id for scored in found])
        chunks = {chunk.id: chunk for chunk in rows}
        seen = [scored for scored in found if scored.id in chunks]
        if learn:
            seen = ranking.with_titles(text, seen, {chunk.id: chunk.title for chunk in rows})
            seen = ranking.with_neighbours(seen, {chunk.id: (chunk.version_id, chunk.ordinal) for chunk in rows})
        return [Hit(chunks[scored.id], scored.score) for scored in seen]


def _distinct(hits: Sequence[Hit], request: SearchRequest) -> list[Hit]:
    """Near-duplicates folded, the rest spread, where that is asked for. At most `top_k`."""
    if not (request.collapse or request.diversity):
        return list(hits[: request.top_k])
    head = hits[: 2 * request.top_k + SPARE]
    groups = folded([hit.chunk.text for hit in head])
    kept = [replace(head[one], duplicates=tuple(head[place].chunk.id for place in more)) for one, *more in groups]
    if request.diversity > 0:
        texts, scores = [hit.chunk.text for hit in kept], [hit.score for hit in kept]
        kept = [kept[place] for place in spread(scores, texts, request.diversity, request.top_k)]
    return kept[: request.top_k]


async def _observed(asked: Awaitable[Answer]) -> Answer:
    with timed("vectors", "query"):
        return await asked


def dense_weight(embedder: str) -> float:
    """How much the dense half counts, by what an embedder of that name was measured to be worth alone.

    WordLlama alone reaches .69 to .89 of BM25's nDCG@10: best at .3 to .4 on every set; MiniLM .89 to .99, at .6 to .7.
    """
    return 0.35 if embedder.startswith("wordllama") else 0.65


def _given(value: float | None, default: float) -> float:
    return default if value is None else value


def _timestamp(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _earlier(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else min(one, other)
