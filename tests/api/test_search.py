"""POST /api/v1/retrieval/search."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aegis.errors import IndexUnavailable
from aegis.scope import Scope, Span
from api.schemas.search import SearchAnswer
from retrieval.catalogue import DocumentFilter
from retrieval.chunk import Chunk
from retrieval.search import Hit, SearchRequest
from retrieval.tables import NEVER
from tests.api.conftest import Open

URL = "/api/v1/retrieval/search"


class FakeSearcher:
    def __init__(self, *hits: Hit, error: Exception | None = None) -> None:
        self.hits = list(hits)
        self.error = error
        self.seen: list[tuple[Scope, SearchRequest]] = []

    async def search(self, scope: Scope, request: SearchRequest) -> list[Hit]:
        self.seen.append((scope, request))
        if self.error:
            raise self.error
        return self.hits


def hit(text: str = "Aegis is a shield.", **changes: Any) -> Hit:
    values: dict[str, Any] = {
        "id": "c1",
        "document_id": "d1",
        "version_id": "v1",
        "collection": "default",
        "source": "upload:aegis.md",
        "title": "Aegis",
        "ordinal": 0,
        "span": Span(10, 10 + len(text)),
        "text": text,
        "page": None,
        "heading": "Aegis > What",
        "visible_from": 1,
        "visible_until": NEVER,
    }
    return Hit(Chunk(**{**values, **changes}), 0.75, ("c0",))


async def test_answer_fits_its_schema_exactly(client_of: Open) -> None:
    client = await client_of(searcher=FakeSearcher(hit(), hit(page="3", heading=None)))
    response = await client.post(URL, json={"query": "what is aegis?"})
    assert response.status_code == 200
    answer = SearchAnswer.model_validate_json(response.content, strict=True)
    assert answer.model_dump(mode="json") == response.json()
    first = response.json()["hits"][0]
    assert (first["start"], first["end"], first["score"], first["via"]) == (10, 28, 0.75, ["c0"])


async def test_everything_asked_for_reaches_the_searcher(client_of: Open) -> None:
    searcher = FakeSearcher()
    client = await client_of(searcher=searcher)
    filters = {"collection": "handbook", "type": "text/html", "tag": ["a", "b"], "date_from": "2024-05-31"}
    body = {"query": "q", "mode": "keyword", "top_k": 3, "filters": filters, "rerank": True, "known_at": 7}
    response = await client.post(URL, json=body | {"as_of": "2024-05-31T12:00:00+02:00"})
    assert response.json()["mode"] == "keyword"
    scope, request = searcher.seen[0]
    assert scope == Scope("local", frozenset({"default", "handbook"}), may_add_collections=True)
    assert request == SearchRequest(
        query="q",
        mode="keyword",
        top_k=3,
        filter=DocumentFilter(None, "text/html", ("a", "b"), datetime(2024, 5, 31, tzinfo=UTC), None),
        collection="handbook",
        as_of=datetime(2024, 5, 31, 10, tzinfo=UTC),
        known_at=7,
        rerank=True,
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "query"),
        ({"query": "  "}, "query"),
        ({"query": 5}, "query"),
        ({"query": "a\0b"}, "query"),
        ({"query": "q", "mode": "magic"}, "mode"),
        ({"query": "q", "top_k": 0}, "top_k"),
        ({"query": "q", "top_k": 101}, "top_k"),
        ({"query": "q", "top_k": "5"}, "top_k"),
        ({"query": "q", "top_k": True}, "top_k"),
        ({"query": "q", "user": "somebody"}, "user"),
        ({"query": "q", "filters": {"collections": ["x"]}}, "filters.collections"),
        ({"query": "q", "filters": {"tag": ["t"] * 21}}, "filters.tag"),
        ({"query": "q", "as_of": "yesterday"}, "as_of"),
        ({"query": "q", "as_of": "0001-01-01T00:00:00+14:00"}, "as_of"),
        ({"query": "q", "known_at": -1}, "known_at"),
        ({"query": "q", "known_at": NEVER}, "known_at"),
        ([], ""),
        ("text", ""),
        (None, ""),
    ],
)
async def test_a_wrong_body_is_refused_naming_the_field(client_of: Open, body: Any, field: str) -> None:
    searcher = FakeSearcher()
    client = await client_of(searcher=searcher)
    response = await client.post(URL, json=body)
    assert response.status_code == 422, response.text
    error = response.json()["error"]
    assert error["code"] == "invalid_input"
    assert error["details"]["problems"][0]["field"] == field
    assert not searcher.seen


async def test_a_long_query_is_refused_without_being_echoed(client_of: Open) -> None:
    client = await client_of(searcher=FakeSearcher())
    for length, status in ((8_000, 200), (50_000, 413), (200_000, 422), (1_100_000, 413)):
        response = await client.post(URL, json={"query": "x" * length})
        assert response.status_code == status
        assert len(response.content) < 1000


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"{'query': 1}", b'{"query": NaN}', b'{"query": "\xff"}', b'{"query": "\\ud800"}', b"[" * 100_000],
    ids=["empty", "cut", "quotes", "nan", "utf-8", "surrogate", "nesting"],
)
async def test_what_is_not_json_is_malformed(client_of: Open, body: bytes) -> None:
    client = await client_of(searcher=FakeSearcher())
    response = await client.post(URL, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in ((400,) if body else (400, 422))
    assert response.json()["error"]["request_id"] == response.headers["x-request-id"]


async def test_a_body_of_another_type_is_refused(client_of: Open) -> None:
    """A form that another site makes a browser send is `text/plain`: it must not be read as JSON."""
    client = await client_of(searcher=FakeSearcher(hit()))
    response = await client.post(URL, content=b'{"query": "q"}', headers={"Content-Type": "text/plain"})
    assert response.status_code == 422
    assert "application/json" in response.json()["error"]["message"]


async def test_an_index_out_of_reach_says_when_to_come_back(client_of: Open) -> None:
    client = await client_of(searcher=FakeSearcher(error=IndexUnavailable("The index restarts.", retry_after=2.4)))
    response = await client.post(URL, json={"query": "q"})
    assert response.status_code == 503
    assert response.headers["retry-after"] == "3"
    assert response.json()["error"]["code"] == "index_unavailable"


def _json_files(kind: str) -> list[Path]:
    folder = os.environ.get("AEGIS_DATASETS")
    return sorted(Path(folder, "json_test_suite").rglob(f"{kind}_*.json")) if folder else []


@pytest.mark.skipif(not os.environ.get("AEGIS_DATASETS"), reason="AEGIS_DATASETS is not set")
@pytest.mark.parametrize("kind", ["n", "y", "i"])
async def test_json_suite(client_of: Open, kind: str) -> None:
    """Bodies that are no JSON are refused; none, whatever it is, makes the server fail."""
    client = await client_of(searcher=FakeSearcher(hit()))
    files = _json_files(kind)
    assert len(files) > 30
    for file in files:
        for content in (file.read_bytes(), b'{"query": "q", "top_k": ' + file.read_bytes() + b"}"):
            response = await client.post(URL, content=content, headers={"Content-Type": "application/json"})
            assert response.status_code in ((400, 413, 422) if kind == "n" else (200, 400, 413, 422)), file.name
            assert json.loads(response.content)
