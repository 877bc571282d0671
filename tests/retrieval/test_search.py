"""Searching: scopes, filters, epochs, modes; over the real catalogue, embedder and keyword encoder."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import insert

from aegis.database import Database
from aegis.errors import IndexUnavailable, InvalidInput, TooLarge
from aegis.scope import Scope, Span, chunk_id
from aegis.settings import RetrievalSettings
from retrieval.catalogue import Catalogue, DocumentFilter
from retrieval.chunk import embedded_text
from retrieval.embedding.wordllama import WordLlamaEmbedder, load_wordllama
from retrieval.keywords import KeywordEncoder
from retrieval.ranking import UNMOVED
from retrieval.search import HybridSearcher, Mode, SearchRequest
from retrieval.store import Candidates, Point, VectorQuery
from retrieval.tables import NEVER, chunks, documents, epochs, versions
from tests.retrieval.store.fake import FakeStore

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MINE = Scope("me", frozenset({"default"}))
EVERYTHING = Scope("me", frozenset({"default", "secret"}))


@functools.cache
def embedder() -> WordLlamaEmbedder:
    return load_wordllama()


@dataclass
class Shelf:
    """Documents written to catalogue and store alike, each text a chunk of its own."""

    database: Database
    store: FakeStore
    keywords: KeywordEncoder = field(default_factory=KeywordEncoder)

    async def put(
        self,
        name: str,
        *texts: str,
        title: str = "Notes",
        collection: str = "default",
        source: str = "",
        media_type: str = "text/plain",
        tags: tuple[str, ...] = (),
        dated: datetime | None = None,
        visible: tuple[int, int] = (1, NEVER),
    ) -> list[str]:
        spans = [Span(n * 1000, n * 1000 + len(text)) for n, text in enumerate(texts)]
        ids = [chunk_id(name, span) for span in spans]
        async with self.database.write() as connection:
            await connection.execute(
                insert(documents).values(
                    id=name, owner="me", collection=collection, source=source or f"file:///docs/{name}.txt",
                    tags=list(tags), created_at=NOW,
                )
            )  # fmt: skip
            await connection.execute(
                insert(versions).values(
                    id=name, document_id=name, content_hash=name, title=title, media_type=media_type, chars=5000,
                    pages=[], headings=[], verdict={}, dated=dated, chunk_count=len(texts), indexed_at=NOW,
                    visible_from=visible[0], visible_until=visible[1],
                )
            )  # fmt: skip
            rows: list[dict[str, Any]] = [
                {
                    "id": identifier, "version_id": name, "ordinal": n, "start": spans[n].start, "end": spans[n].end,
                    "text": texts[n], "page": None, "heading": None, "embedded_hash": name,
                }
                for n, identifier in enumerate(ids)
            ]  # fmt: skip
            await connection.execute(insert(chunks), rows)
        embedded = [embedded_text(title, None, text) for text in texts]
        dense, sparse = embedder().embed_now(embedded), self.keywords.documents(embedded)
        date = dated.timestamp() if dated else None
        await self.store.upsert(
            [
                Point(ids[n], dense[n], sparse[n], collection, name, media_type, *visible, tags, date)
                for n in range(len(texts))
            ]
        )
        return ids

    def searcher(self, store: Any = None) -> HybridSearcher:
        catalogue = Catalogue(self.database)
        return HybridSearcher(store or self.store, embedder(), self.keywords, catalogue, RetrievalSettings(), 500)

    async def found(self, query: str, scope: Scope = MINE, **request: Any) -> list[str]:
        hits = await self.searcher().search(scope, SearchRequest(query, **request))
        return [hit.chunk.document_id for hit in hits]


@pytest.fixture
async def shelf(database: Database) -> Shelf:
    async with database.write() as connection:
        await connection.execute(epochs.delete())
        await connection.execute(insert(epochs).values(id=1, value=5))
    return Shelf(database, FakeStore(256))


@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword", "graph"])
async def test_every_mode_finds_the_passage(shelf: Shelf, mode: Mode) -> None:
    await shelf.put("cats", "Cats sleep for sixteen hours a day and hunt mice at night.")
    await shelf.put("ships", "Container ships carry most of the goods traded between continents.")
    hits = await shelf.searcher().search(MINE, SearchRequest("How long do cats sleep?", mode=mode, top_k=1))
    assert [hit.chunk.document_id for hit in hits] == ["cats"]
    assert hits[0].chunk.text.startswith("Cats sleep")
    assert 0 < hits[0].score <= 1


async def test_keyword_mode_finds_nothing_where_no_word_is_shared(shelf: Shelf) -> None:
    await shelf.put("cats", "Cats sleep for sixteen hours a day.")
    assert await shelf.found("zebra", mode="keyword") == []
    assert await shelf.found("?!", mode="keyword") == []


async def test_another_scope_sees_nothing(shelf: Shelf) -> None:
    await shelf.put("secret", "The launch code is 0000.", collection="secret")
    assert await shelf.found("launch code") == []
    assert await shelf.found("launch code", collection="secret") == []
    assert await shelf.found("launch code", EVERYTHING, collection="secret") == ["secret"]
    assert await shelf.found("launch code", EVERYTHING, collection="default") == []
    assert await shelf.found("launch code", Scope("me", frozenset())) == []


async def test_epochs_select_what_was_known(shelf: Shelf) -> None:
    await shelf.put("old", "The budget is 10 million.", visible=(1, 4))
    await shelf.put("new", "The budget is 12 million.", visible=(4, NEVER))
    await shelf.put("next", "The budget is 15 million.", visible=(6, NEVER))
    assert await shelf.found("budget") == ["new"]
    assert await shelf.found("budget", known_at=3) == ["old"]
    assert await shelf.found("budget", known_at=6) == ["new"]  # epoch 6 is not published yet
    assert await shelf.found("budget", known_at=-1) == []


async def test_filters_narrow(shelf: Shelf) -> None:
    spring, autumn = datetime(2025, 4, 1, tzinfo=UTC), datetime(2025, 10, 1, tzinfo=UTC)
    await shelf.put("a", "Quarterly sales report.", dated=spring, tags=("sales", "eu"), media_type="application/pdf")
    await shelf.put("b", "Quarterly sales report.", dated=autumn, tags=("sales",))
    summer = datetime(2025, 7, 1, tzinfo=UTC)
    for condition, expected in (
        (DocumentFilter(), {"a", "b"}),
        (DocumentFilter(tags=("sales", "eu")), {"a"}),
        (DocumentFilter(type="pdf"), {"a"}),
        (DocumentFilter(type="application/pdf"), {"a"}),
        (DocumentFilter(type="docx"), set[str]()),
        (DocumentFilter(date_from=summer), {"b"}),
        (DocumentFilter(date_to=summer), {"a"}),
        (DocumentFilter(source="file:///docs/b.txt"), {"b"}),
        (DocumentFilter(source="a.txt"), {"a"}),
        (DocumentFilter(source="file:///docs/"), {"a", "b"}),
        (DocumentFilter(source="file:///doc"), set[str]()),
        (DocumentFilter(source="%"), set[str]()),
    ):
        assert set(await shelf.found("sales report", filter=condition)) == expected, condition
    assert await shelf.found("sales report", as_of=summer) == ["a"]


async def test_a_source_out_of_scope_is_no_document(shelf: Shelf) -> None:
    await shelf.put("s", "Launch plan.", collection="secret")
    assert await shelf.found("launch", filter=DocumentFilter(source="s.txt")) == []


async def test_titles_and_neighbours_count_in_hybrid(shelf: Shelf) -> None:
    await shelf.put("w", "It opened in 1889 and is made of iron.", title="Eiffel Tower")
    await shelf.put("x", "It opened in 1889 and is made of wood.", title="Old Barn")
    assert (await shelf.found("when was the eiffel tower opened"))[0] == "w"


async def test_a_quoted_phrase_comes_first(shelf: Shelf) -> None:
    await shelf.put("a", "retention policy of data and data policy, retention of the policy for data", "x y z")
    await shelf.put("b", "a long text in which the data retention policy is named only once among other things")
    assert (await shelf.found('what is our "data retention policy"'))[0] == "b"


async def test_what_the_passages_call_it_is_asked_for_too(shelf: Shelf) -> None:
    await shelf.put("a", "Each customer has a service level agreement (SLA).", "zebras graze")
    await shelf.put("b", "A service level agreement names the hours in which somebody answers.")
    await shelf.put("c", "The kubernetes cluster restarts at night.")
    assert set((await shelf.found("SLA"))[:2]) == {"a", "b"}
    assert (await shelf.found("kuberntes restart"))[0] == "c"


async def test_copies_are_folded_where_that_is_asked_for(shelf: Shelf) -> None:
    for name in "abc":
        await shelf.put(name, "The sales report is due on Monday." if name != "c" else "A sales report of last year.")
    assert len(await shelf.found("sales report")) == 3
    hits = await shelf.searcher().search(MINE, SearchRequest("sales report", collapse=True))
    assert sorted(len(hit.duplicates) for hit in hits) == [0, 1]
    assert len(await shelf.found("sales report", diversity=0.5)) == 2


async def test_candidates_reach_beyond_top_k(shelf: Shelf) -> None:
    for number in range(30):
        await shelf.put(f"d{number}", f"Report number {number} on rivers.")
    request = SearchRequest("rivers report", top_k=3)
    searcher = shelf.searcher()
    assert len(await searcher.search(MINE, request)) == 3
    candidates = await searcher.candidates(MINE, request)
    assert len(candidates) == 30
    assert [hit.score for hit in candidates] == sorted((hit.score for hit in candidates), reverse=True)


async def test_what_follows_the_best_passage_comes_before_the_tail(shelf: Shelf) -> None:
    await shelf.put("guide", "Descaling the boiler: which acid to use.", "Leave it overnight, then rinse twice.")
    for number in range(60):
        await shelf.put(f"d{number}", f"Boiler number {number} and the acid it holds.")
    hits = await shelf.searcher().search(MINE, SearchRequest("Which acid descales the boiler?", top_k=20))
    places = [n for n, hit in enumerate(hits) if hit.chunk.text.startswith("Leave it overnight")]
    assert hits[0].chunk.document_id == "guide"
    assert places == [UNMOVED]
    assert len(hits) == 20
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (SearchRequest(""), InvalidInput),
        (SearchRequest(" \n\u200b\0"), InvalidInput),
        (SearchRequest("x" * 501), TooLarge),
        (SearchRequest("x", top_k=0), InvalidInput),
        (SearchRequest("x", top_k=101), InvalidInput),
    ],
)
async def test_bad_requests_are_refused(shelf: Shelf, request_: SearchRequest, error: type[Exception]) -> None:
    with pytest.raises(error):
        await shelf.searcher().search(MINE, request_)


@pytest.mark.parametrize("query", ["\ud800 cats", "cats\0", "\U0001f408", "'; DROP TABLE chunks; --", "ca\u0301ts"])
async def test_odd_queries_are_answered(shelf: Shelf, query: str) -> None:
    await shelf.put("cats", "Cats sleep for sixteen hours a day.")
    assert await shelf.found(query) == ["cats"]


class Gone:
    async def query(self, query: VectorQuery) -> Candidates:
        raise IndexUnavailable("The vector store does not answer.")


async def test_an_index_that_is_gone_is_said_to_be(shelf: Shelf) -> None:
    with pytest.raises(IndexUnavailable):
        await shelf.searcher(Gone()).search(MINE, SearchRequest("cats"))
