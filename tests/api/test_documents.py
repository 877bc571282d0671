"""Listing, text, originals, removal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from aegis.errors import NotFound
from aegis.scope import Scope
from api.schemas.documents import DocumentAnswer, DocumentsAnswer, TextAnswer
from retrieval.catalogue import DocumentEntry
from tests.api.conftest import FakeCatalogue, Open, served
from tests.api.test_ingestion import FakeIngestion

URL = "/api/v1/documents"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TEXT = "Grüße 👋 from Aegis"


def entry(identifier: str = "d1", **changes: Any) -> DocumentEntry:
    made = DocumentEntry(
        identifier, "default", "upload:a.md", "A", "text/markdown", "v1", "f" * 64, len(TEXT), 3, {}, ["x"], None, NOW
    )
    return replace(made, **changes)


class FakeDocuments(FakeCatalogue):
    def __init__(self, *entries: DocumentEntry) -> None:
        super().__init__()
        self.entries = entries

    async def document(self, scope: Scope, document_id: str, epoch: int | None = None) -> DocumentEntry:
        for found in self.entries:
            if found.id == document_id and scope.may_read(found.collection):
                return found
        raise NotFound(f"There is no document {document_id}.")

    async def list_documents(self, scope: Scope, *, after: str = "", limit: int = 100) -> list[DocumentEntry]:
        seen = [one for one in self.entries if scope.may_read(one.collection) and one.id > after]
        return seen[:limit]

    async def text_part(
        self, scope: Scope, document_id: str, version_id: str, start: int = 0, end: int | None = None
    ) -> tuple[str, int]:
        if version_id not in ("v1", "v0"):
            raise NotFound("none")
        return TEXT[start:end], len(TEXT)


class FakeBlobs:
    async def get(self, digest: str) -> bytes:
        return b"<script>alert(1)</script>"


async def test_pages(client_of: Open) -> None:
    catalogue = FakeDocuments(entry("d1"), entry("d2", collection="handbook"), entry("d3"), entry("d4", collection="z"))
    client = await client_of(catalogue=catalogue)
    first = await client.get(URL, params={"limit": 2})
    assert DocumentsAnswer.model_validate_json(first.content).model_dump(mode="json") == first.json()
    assert [one["id"] for one in first.json()["documents"]] == ["d1", "d2"]
    rest = await client.get(URL, params={"limit": 2, "cursor": first.json()["next"]})
    assert ([one["id"] for one in rest.json()["documents"]], rest.json()["next"]) == (["d3"], None)
    narrowed = await client.get(URL, params={"collection": "handbook"})
    assert [one["id"] for one in narrowed.json()["documents"]] == ["d2"]
    assert (await client.get(URL, params={"collection": "z"})).json()["documents"] == []


async def test_new_collections_are_seen_once_the_epoch_rises(client_of: Open) -> None:
    catalogue = FakeDocuments(entry("d4", collection="z"))
    client = await client_of(catalogue=catalogue)
    assert (await client.get(f"{URL}/d4")).status_code == 404
    catalogue.names, catalogue.at = frozenset({"z"}), 2
    assert (await client.get(f"{URL}/d4")).status_code == 200
    assert (await client.get(f"{URL}/d4")).status_code == 200


async def test_one(client_of: Open) -> None:
    client = await client_of(catalogue=FakeDocuments(entry(dated=NOW, verdict={"pages_without_text": 12})))
    response = await client.get(f"{URL}/d1")
    assert DocumentAnswer.model_validate_json(response.content).model_dump(mode="json") == response.json()
    assert response.json()["dated"] == "2026-01-02T03:04:05Z"
    assert (await client.get(f"{URL}/d2")).status_code == 404


async def test_text_counts_in_code_points(client_of: Open) -> None:
    client = await client_of(catalogue=FakeDocuments(entry()))
    whole = await client.get(f"{URL}/d1/text")
    assert TextAnswer.model_validate_json(whole.content).model_dump() == whole.json()
    assert (whole.json()["text"], whole.json()["chars"]) == (TEXT, 18)
    part = await client.get(f"{URL}/d1/text", params={"start": 6, "end": 7, "version": "v0"})
    assert (part.json()["text"], part.json()["version_id"]) == ("👋", "v0")
    assert (await client.get(f"{URL}/d1/text", params={"start": 16, "end": 99})).json()["text"] == "is"
    for wrong in ({"start": 5, "end": 4}, {"start": 19}, {"start": -1}, {"end": "x"}):
        assert (await client.get(f"{URL}/d1/text", params=wrong)).status_code == 422
    assert (await client.get(f"{URL}/d1/text", params={"version": "v9"})).status_code == 404


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("upload:a.html", "a.html"),
        ("file:///home/me/a%20b.pdf", "a%20b.pdf"),
        ("upload:../../etc/passwd", "passwd"),
        ("upload:C:\\x\\y.txt", "y.txt"),
        ('upload:a"\r\nSet-Cookie: x', "a%22Set-Cookie%3A%20x"),
        ("https://example.org/", "document"),
    ],
)
async def test_an_original_is_a_download_that_no_page_can_run(client_of: Open, source: str, name: str) -> None:
    client = await client_of(catalogue=FakeDocuments(entry(source=source)), blobs=FakeBlobs())
    response = await client.get(f"{URL}/d1/original")
    assert response.content == b"<script>alert(1)</script>"
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"] == f"attachment; filename*=UTF-8''{name}"
    assert "sandbox" in response.headers["content-security-policy"]
    assert response.headers.get_list("x-content-type-options") == ["nosniff"]


async def test_an_original_that_the_scope_does_not_see_is_not_there(client_of: Open) -> None:
    client = await client_of(catalogue=FakeDocuments(entry(collection="z")), blobs=FakeBlobs())
    assert (await client.get(f"{URL}/d1/original")).status_code == 404


class FakePrivacy:
    def __init__(self) -> None:
        self.said: list[tuple[str, bool]] = []

    async def set(self, scope: Scope, document_id: str, *, private: bool) -> DocumentEntry:
        self.said.append((document_id, private))
        return entry(document_id, private=private)


async def test_a_document_is_marked_private_and_shown_so(client_of: Open) -> None:
    privacy = FakePrivacy()
    client = await client_of(privacy=privacy, catalogue=FakeDocuments(entry("d1", private=True)))
    for private in (True, False):
        assert (await client.patch(f"{URL}/d1", json={"private": private})).json()["private"] is private
    assert privacy.said == [("d1", True), ("d1", False)]
    assert (await client.get(f"{URL}/d1")).json()["private"]
    for wrong in ({}, {"private": "yes"}, {"private": True, "title": "x"}):
        assert (await client.patch(f"{URL}/d1", json=wrong)).status_code == 422
    assert len(privacy.said) == 2


async def test_removal(client_of: Open) -> None:
    ingestion = FakeIngestion()
    client = await client_of(ingestion=ingestion)
    response = await client.delete(f"{URL}/d1")
    assert (response.status_code, response.content, ingestion.removed) == (204, b"", ["d1"])
    assert (await client.delete(f"{URL}/d2")).status_code == 404


@pytest.mark.parametrize(
    "path",
    ["documents/a%00b", "documents/d1/text?version=%00", "retrieval/jobs/%00", "conversations/%00", "memory/facts/%00"],
)
async def test_an_id_holds_nothing_that_a_store_cannot_take(client_of: Open, path: str) -> None:
    client = await client_of(
        catalogue=FakeDocuments(entry()), ingestion=FakeIngestion(), conversations=None, facts=None
    )
    assert (await client.get(f"/api/v1/{path}")).status_code == 422


async def test_nothing_is_open_yet(client_of: Open) -> None:
    app = served()
    app.state.services = None
    client = await client_of(app)
    for path in ("documents/d1/original", "admin/rebuild"):
        assert (await client.get(f"/api/v1/{path}")).status_code == 503
