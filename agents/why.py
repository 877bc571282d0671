"""Why a document is not in an answer: where on its way from file to evidence it was lost, with ranks and scores.

Each stage is what answering itself does: the same index, scores and judgement, asked about one document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from aegis.errors import NotFound
from aegis.scope import Scope
from agents.ground import BARELY, JUDGED, Meanings, judge
from inference import Passage
from inference.words import content_words
from retrieval.catalogue import DocumentEntry
from retrieval.chunk import Chunk
from retrieval.ingestion import FileReport
from retrieval.search import Hit, Searcher, SearchRequest
from retrieval.store import Candidates, Scored

DEEP = 500  # candidates looked through for a rank
SHALLOW = 100  # hits looked through for a rank after fusion
Name = Literal["extraction", "chunk", "scope", "keyword", "dense", "mentions", "cut", "evidence"]


@dataclass(frozen=True, slots=True)
class Stage:
    """`passed` is None where the stage has no say. `rank` from 1; None: not among those looked through."""

    name: Name
    passed: bool | None
    says: str
    rank: int | None = None
    score: float | None = None
    cutoff: float | None = None  # the score of the last that passes
    chunk_id: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    document_id: str
    title: str
    lost_at: Name | None  # None: it reaches the evidence
    stages: Sequence[Stage]


class Documents(Protocol):
    async def document(self, scope: Scope, document_id: str, epoch: int | None = None) -> DocumentEntry: ...

    async def chunks_of(self, scope: Scope, version_id: str) -> list[Chunk]: ...


class Reports(Protocol):
    async def last_report(self, scope: Scope, document_id: str) -> FileReport | None:
        """What the newest job says of the file that this document was to be made of."""
        ...


class Halves(Protocol):
    async def halves(self, scope: Scope, request: SearchRequest, limit: int, document: str = "") -> Candidates:
        """What each half finds, best first, with the engine's own scores; in one document only, where it is named."""
        ...


@dataclass(frozen=True, slots=True)
class Why:
    documents: Documents
    reports: Reports
    searcher: Searcher
    halves: Halves
    meanings: Meanings
    candidates: int  # of each half that are fused

    async def __call__(self, scope: Scope, request: SearchRequest, document_id: str) -> Explanation:
        """Raises NotFound for a document that this scope neither sees nor has sent."""
        try:
            entry = await self.documents.document(scope, document_id, request.known_at)
        except NotFound:
            report = await self.reports.last_report(scope, document_id)
            if report is None:
                raise
            return Explanation(document_id, report.source, "extraction", [_unread(report)])
        chunks = await self.documents.chunks_of(scope, entry.version_id)
        stages = [_extraction(entry), _chunk(request.query, entry, chunks)]
        stages += await self._searched(scope, request, entry)
        lost: Name | None = next((stage.name for stage in _in_order(stages) if stage.passed is False), None)
        return Explanation(entry.id, entry.title, lost, stages)

    async def _searched(self, scope: Scope, request: SearchRequest, entry: DocumentEntry) -> list[Stage]:
        within = await self.halves.halves(scope, request, 1, entry.id)
        if not within.sparse and not within.dense:
            return [await self._scope(scope, request, entry)]
        seen = Stage("scope", True, "The scope and the filters let it through.")
        among = await self.halves.halves(scope, request, DEEP)
        keyword = self._half("keyword", within.sparse, among.sparse)
        dense = self._half("dense", within.dense, among.dense)
        hits = await self.searcher.search(scope, replace(request, top_k=SHALLOW))
        mentions = await self._mentions(scope, request, entry)
        cut = _cut(hits, entry.id, request.top_k)
        return [seen, keyword, dense, mentions, cut, await self._evidence(request, hits, entry.id)]

    async def _scope(self, scope: Scope, request: SearchRequest, entry: DocumentEntry) -> Stage:
        bare = SearchRequest(request.query, top_k=request.top_k, known_at=request.known_at)
        open_to = await self.halves.halves(scope, bare, 1, entry.id)
        if open_to.sparse or open_to.dense:
            return Stage("scope", False, "The filters (source, type, tag, dates, collection, as_of) leave it out.")
        return Stage("keyword", False, "No chunk of it shares a word with the question, and none has a vector near it.")

    def _half(self, name: Literal["keyword", "dense"], within: Sequence[Scored], among: Sequence[Scored]) -> Stage:
        what = "words" if name == "keyword" else "meaning"
        if not within:
            says = (
                "No chunk of it shares a word with the question." if name == "keyword" else "No vectors are compared."
            )
            return Stage(name, False if name == "keyword" else None, says)
        best = within[0]
        place = next((rank for rank, found in enumerate(among, 1) if found.id == best.id), None)
        last = among[min(len(among), self.candidates) - 1].score if among else None
        passed = place is not None and place <= self.candidates
        where = f"at place {place}" if place else f"behind the first {len(among)}"
        says = f"By {what}, its best chunk stands {where}; the first {self.candidates} go on."
        return Stage(name, passed, says, place, round(best.score, 4), None if last is None else round(last, 4), best.id)

    async def _mentions(self, scope: Scope, request: SearchRequest, entry: DocumentEntry) -> Stage:
        followed = await self.searcher.search(scope, replace(request, mode="graph", top_k=SHALLOW))
        found = _first(followed, entry.id)
        if found is None or not found[1].via:
            return Stage("mentions", None, "No passage that was found leads to it by a mention.")
        rank, hit = found
        says = f"{len(hit.via)} mentions lead to it; following them it stands at place {rank}."
        return Stage("mentions", rank <= request.top_k, says, rank, round(hit.score, 4), None, hit.chunk.id)

    async def _evidence(self, request: SearchRequest, hits: Sequence[Hit], document_id: str) -> Stage:
        best = hits[: request.top_k]
        passages = [_passage(number, hit) for number, hit in enumerate(best, 1)]
        score = await judge(request.query, passages, self.meanings)
        place = next((number for number, hit in enumerate(best, 1) if hit.chunk.document_id == document_id), None)
        verdict = "enough" if score >= BARELY else "too little"
        says = f"The first {JUDGED} passages are judged {verdict} for an answer" + (
            "."
            if place is None or place <= JUDGED
            else f"; its chunk is number {place}, which is cited but not judged."
        )
        return Stage("evidence", score >= BARELY, says, place, round(score, 3), BARELY)


def _in_order(stages: Sequence[Stage]) -> list[Stage]:
    """Only what decides: a half or a mention that finds it makes up for the others."""
    ways = ("keyword", "dense", "mentions")
    entries = [stage for stage in stages if stage.name in ways]
    found = any(stage.passed for stage in entries)
    return [stage for stage in stages if not (found and stage in entries)]


def _unread(report: FileReport) -> Stage:
    if report.state == "failed":
        return Stage("extraction", False, report.reason or "It could not be read.")
    if report.state in ("queued", "running", "written"):
        return Stage("extraction", False, f"It is still being taken in ({report.stage or report.state}).")
    return Stage(
        "extraction", False, "It was taken in and is not there any more: removed, replaced, or its job cancelled."
    )


def _extraction(entry: DocumentEntry) -> Stage:
    warning = entry.verdict.get("warning")
    told = f" But {warning}." if warning else ""
    return Stage("extraction", True, f"{entry.chars:,} characters of text were read.{told}")


def _chunk(question: str, entry: DocumentEntry, chunks: Sequence[Chunk]) -> Stage:
    words = set(content_words(question))
    held = {chunk.id: words & set(content_words(f"{chunk.embedded_text}")) for chunk in chunks}
    if not chunks:
        return Stage("chunk", False, "It has no chunk.")
    best = max(held, key=lambda identifier: len(held[identifier]))
    missing = sorted(words - set[str]().union(*held.values()))
    says = f"Of {len(chunks)} chunks, the best holds {len(held[best])} of the question's {len(words)} words."
    if missing:
        says += f" Nowhere in it: {', '.join(missing[:10])}."
    return Stage("chunk", True, says, chunk_id=best)


def _cut(hits: Sequence[Hit], document_id: str, top_k: int) -> Stage:
    found = _first(hits, document_id)
    last = round(hits[min(len(hits), top_k) - 1].score, 4) if hits else None
    if found is None:
        return Stage("cut", False, f"Fused, it is not among the first {len(hits)}.", None, None, last)
    rank, hit = found
    says = f"Fused, its best chunk stands at place {rank}; the first {top_k} are taken."
    return Stage("cut", rank <= top_k, says, rank, round(hit.score, 4), last, hit.chunk.id)


def _first(hits: Sequence[Hit], document_id: str) -> tuple[int, Hit] | None:
    return next(((rank, hit) for rank, hit in enumerate(hits, 1) if hit.chunk.document_id == document_id), None)


def _passage(marker: int, hit: Hit) -> Passage:
    chunk = hit.chunk
    return Passage(marker, chunk.id, chunk.title, chunk.text, chunk.span.start, hit.score, chunk.heading)
