"""The vector folder deleted, cut short or overwritten while the server is down: said, rebuilt, answered the same.

AEGIS_TEST_DAMAGES=all tries further kinds of damage.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.system.application import Site, check, eventually, finished, submit
from tests.system.library import files
from tests.system.stores import contents, faults

QUESTIONS = ("Who works for Copper Bay Bank?", "crates at Pier Seven in 1900", "Record 7 of")
VECTORS = Path("vectors/wordllama-256")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A data folder that nobody runs on, and what its server answered."""
    site = Site(tmp_path_factory.mktemp("filled") / "var")
    with site.running() as client:
        finished(client, submit(client, files(Path("/records"), 25)))
        answers = _answers(client)
    assert faults(site.folder) == []
    return site.folder, answers


def deleted(folder: Path) -> None:
    shutil.rmtree(folder)


def half_deleted(folder: Path) -> None:
    for file in sorted(_files(folder))[::2]:
        file.unlink()


def cut_short(folder: Path) -> None:
    for file in _files(folder):
        with file.open("r+b") as opened:
            opened.truncate(file.stat().st_size // 2)


def zeroed(folder: Path) -> None:
    for file in _files(folder):
        with file.open("r+b") as opened:
            opened.write(b"\0" * file.stat().st_size)


def one_page_zeroed(folder: Path) -> None:
    """The largest stretch of stored vectors or payload: nothing that is needed to open the files."""
    largest = max(_files(folder / "generation-000001" / "shard"), key=lambda file: file.stat().st_blocks)
    size = largest.stat().st_size
    with largest.open("r+b") as opened:
        opened.seek(0)
        opened.write(b"\0" * size)


def emptied(folder: Path) -> None:
    for file in _files(folder):
        file.write_bytes(b"")


def replaced_by_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("not a folder")


FURTHER = (half_deleted, one_page_zeroed, emptied, replaced_by_a_file)
DAMAGES = (deleted, cut_short, zeroed, *(FURTHER if os.environ.get("AEGIS_TEST_DAMAGES") == "all" else ()))


@pytest.fixture
def site(filled: tuple[Path, list[Any]], tmp_path: Path) -> Generator[Site]:
    shutil.copytree(filled[0], tmp_path / "var")
    made = Site(tmp_path / "var")
    yield made
    made.stop()


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_said_and_mended(damage: Callable[[Path], None], site: Site, filled: tuple[Path, list[Any]]) -> None:
    before = contents(site.folder)
    damage(site.folder / VECTORS)
    with site.running() as client:
        eventually(lambda: _whole(client), 60)
        assert _answers(client) == filled[1]
        assert check(client, "vectors")["state"] == "up"
        assert "The index vectors:wordllama-256 is rebuilt" in site.said()
        assert "Rebuilding the index vectors:wordllama-256" in site.said()
    assert faults(site.folder) == []
    assert contents(site.folder) == before


def test_another_keyword_encoder_makes_the_index_anew(site: Site, filled: tuple[Path, list[Any]]) -> None:
    noted = site.folder / "format.json"
    recorded = json.loads(noted.read_text())
    noted.write_text(json.dumps({**recorded, "keywords": "of-old-1"}))
    with site.running() as client:
        eventually(lambda: _whole(client), 60)
        assert f"keywords are made by {recorded['keywords']} now, they were made by of-old-1" in site.said()
        assert "Rebuilding the index vectors:wordllama-256" in site.said()
        assert _answers(client) == filled[1]
    assert json.loads(noted.read_text()) == recorded
    assert faults(site.folder) == []


def test_answers_go_on_meanwhile(filled: tuple[Path, list[Any]], tmp_path: Path) -> None:
    """Through the rebuild every search and every question is answered, or says that the index is not there."""
    shutil.copytree(filled[0], tmp_path / "var")
    site = Site(tmp_path / "var")
    zeroed(site.folder / VECTORS)
    states: set[str] = set()
    with site.running() as client:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            states.add(check(client, "vectors")["state"])
            found = client.post("/api/v1/retrieval/search", json={"query": QUESTIONS[0]})
            assert found.status_code in (200, 503), found.text
            told = client.post("/api/v1/chat", json={"question": QUESTIONS[0]})
            assert told.status_code in (200, 503), told.text
            if _whole(client) and _answers(client) == filled[1]:
                break
        assert _answers(client) == filled[1]
    assert states <= {"rebuilding", "down", "up"}


def _whole(client: httpx.Client) -> bool:
    found = client.post("/api/v1/retrieval/search", json={"query": QUESTIONS[0], "top_k": 5})
    return found.status_code == 200 and len(found.json()["hits"]) == 5 and check(client, "vectors")["state"] == "up"


def _answers(client: httpx.Client) -> list[Any]:
    """Hits of each mode and the answer's citations, without times."""
    found: list[Any] = []
    for question in QUESTIONS:
        for mode in ("hybrid", "vector", "keyword", "graph"):
            hits = client.post("/api/v1/retrieval/search", json={"query": question, "mode": mode}).json()["hits"]
            found.append([(hit["chunk_id"], round(hit["score"], 4)) for hit in hits])
        answer = client.post("/api/v1/chat", json={"question": question}).json()
        found.append((answer["answer"], [cited["chunk_id"] for cited in answer["citations"]]))
    return found


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
