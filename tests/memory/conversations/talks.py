"""Turns to tell, and the tiers on a store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from aegis.database import Database
from aegis.scope import Scope, new_id
from memory.conversations import Citation, Conversation, Turn
from memory.conversations.archive import Archive
from memory.conversations.hot import HotTier, ProcessHot
from memory.conversations.index import TurnIndex
from memory.conversations.store import SqlConversations
from memory.conversations.summaries import SqlSummaries
from memory.conversations.tiers import TieredConversations
from retrieval.blobs import Blobs
from retrieval.embedding.wordllama import WordLlamaEmbedder, load_wordllama
from retrieval.keywords import KeywordEncoder

ANN = Scope("ann")
BOB = Scope("bob")
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
CITATION = Citation(1, "d", "v", "c", "file:///a.md", "A", 3, 9, "vector", 0.75, page="2", heading="Intro > Why")


class Clock:
    """One second later at each look."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def asked(question: str = "What is Qdrant?", conversation: str | None = None) -> Turn:
    return Turn(new_id(), conversation or new_id(), question)


def answered(turn: Turn, answer: str = "A vector database [1].") -> Turn:
    return replace(
        turn,
        state="done",
        answer=answer,
        standalone="What is Qdrant?",
        route="retrieve",
        citations=(CITATION,),
        chunk_ids=("c", "c2"),
        fact_ids=("f",),
        top_k=8,
        collections=("default",),
        filters={"tag": ["x"]},
        model="extractive",
        tokens_in=10,
        tokens_out=5,
        epoch=7,
        timings={"retrieve": 1.25},
        steps=({"node": "retrieve", "summary": "2 found", "took_ms": 1.25, "detail": {"hits": 2}},),
        notes=("No model is configured.",),
    )


@cache
def embedder() -> WordLlamaEmbedder:
    return load_wordllama()


def tiers(
    database: Database,
    folder: Path,
    hot: HotTier | None = None,
    clock: Callable[[], datetime] | None = None,
) -> TieredConversations:
    """Without the background work: tests call `settle`."""
    clock = clock or Clock()
    archive = Archive(database, Blobs(str(folder / "blobs")), clock)
    store = SqlConversations(database, clock, archive)
    index = TurnIndex(database, store, embedder(), KeywordEncoder(), clock)
    return TieredConversations(store, hot or ProcessHot(), index, archive, SqlSummaries(database, store))


async def tell(kept: TieredConversations, count: int, scope: Scope = ANN, about: str = "number") -> list[Turn]:
    """A conversation with so many finished turns, all at once; as they are kept."""
    talk = Conversation(new_id(), scope.user, "A talk", START, START)
    told = [
        answered(asked(f"Question {about} {number}?", talk.id), f"Answer {about} {number}.") for number in range(count)
    ]
    await kept.take_in(scope, talk, told)
    return await kept.history(scope, talk.id)
