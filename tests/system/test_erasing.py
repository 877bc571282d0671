"""A canary word is found in everything while its document is there, and in nothing after it was erased."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import zstandard

from aegis.scope import new_id
from tests.system.application import Site, eventually, finished

CANARY = "xanthippequokka"


def places(folder: Path, word: str = CANARY) -> set[str]:
    """Files of the folder that hold the word: as they are (free pages and logs included), or decompressed."""
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file() and _holds(file, word)}


def _holds(file: Path, word: str) -> bool:
    data = file.read_bytes()
    needles = [word.encode(), word.encode("utf-16-le"), word.upper().encode()]
    return any(needle in form for form in (data, *_decompressed(data)) for needle in needles)


def _decompressed(data: bytes) -> Iterator[bytes]:
    """By the first bytes: gzip, zlib, and zstandard, in which archives are written."""
    if data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    elif data[:1] == b"\x78":
        with suppress(zlib.error):
            yield zlib.decompress(data)
    elif data[:4] == b"\x28\xb5\x2f\xfd":
        yield zstandard.ZstdDecompressor().decompressobj().decompress(data)


def test_erased_from_disk(tmp_path: Path) -> None:
    site = Site(tmp_path / "var")
    with site.running() as client:
        _documents(site, client)
        _conversation(site, client)
    assert places(site.folder) == set()


def _documents(site: Site, client: httpx.Client) -> None:
    text = f"The {CANARY} of Orion Labs is green. Orion Labs uses {CANARY.title()} Glass."
    kept = {"source": "upload:kept.md", "text": "Orion Labs uses Blue Glass.", "title": "Kept"}
    wanted = {"source": f"upload:{CANARY}.md", "text": text, "title": f"About {CANARY}", "tags": [CANARY]}
    answer = client.post("/api/v1/retrieval/ingest", json={"documents": [wanted, kept]})
    assert finished(client, answer.json()["job_id"])["state"] == "done"
    found = client.get("/api/v1/documents").json()["documents"]
    gone = next(one["id"] for one in found if one["title"] != "Kept")
    there = places(site.folder)
    assert any(name.startswith("aegis.sqlite") for name in there), there
    assert any(name.startswith("blobs") for name in there), there
    assert any(name.startswith("vectors") for name in there), there

    assert client.delete(f"/api/v1/documents/{gone}").status_code == 204
    assert client.post("/api/v1/retrieval/search", json={"query": CANARY}).json()["hits"][:1] in ([], _kept(client))
    assert places(site.folder), "not findable is not erased"

    receipt = site.json("forget", gone, "--erase")
    (one,) = receipt["documents"]
    assert (one["document_id"], set(one["stores"].values())) == (gone, {"erased from disk"})
    eventually(lambda: places(site.folder) == set(), 20)
    assert [fact["target"] for fact in _facts(client)] == ["Blue Glass"]
    assert client.post("/api/v1/retrieval/search", json={"query": "Blue Glass"}).json()["hits"]
    assert site.cli("forget", gone, "--erase").returncode == 1  # there is nothing more of it


def _conversation(site: Site, client: httpx.Client) -> None:
    conversation = new_id()
    said = {"question": f"I live in {CANARY.title()}.", "conversation_id": conversation}
    assert client.post("/api/v1/chat", json=said).status_code == 200
    eventually(lambda: len(_facts(client)) > 1, 20)
    assert places(site.folder)
    receipt = client.post("/api/v1/forget", json={"conversations": [conversation], "erase": True}).json()
    assert receipt["conversations"][0]["stores"]["facts"] == "erased from disk"
    assert [fact["target"] for fact in _facts(client)] == ["Blue Glass"]
    eventually(lambda: places(site.folder) == set(), 20)


def _facts(client: httpx.Client) -> list[dict[str, str]]:
    return client.get("/api/v1/memory/facts").json()["facts"]


def _kept(client: httpx.Client) -> list[object]:
    return client.post("/api/v1/retrieval/search", json={"query": "Blue Glass"}).json()["hits"][:1]
