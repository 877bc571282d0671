"""`aegis backup` and `aegis restore` while the server runs: the same questions get the same answers elsewhere."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.system.application import Site, finished, submit

QUESTIONS = 6
FILES = 10  # sample documents
TIMED = ("timings", "turn_id", "conversation_id")


def cases() -> list[str]:
    lines = (Path(__file__).parents[2] / "evals/cases/samples.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["question"] for line in lines][:: max(1, len(lines) // QUESTIONS)][:QUESTIONS]


def answers(client: httpx.Client) -> list[Any]:
    found = [client.post("/api/v1/chat", json={"question": question}).json() for question in cases()]
    return [{key: value for key, value in one.items() if key not in TIMED} for one in found]


def samples(folder: Path) -> dict[Path, bytes]:
    files = sorted((Path(__file__).parents[2] / "samples/documents").iterdir())
    return {folder / file.name: file.read_bytes() for file in files[:FILES]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


def test_recorded_questions_get_the_same_answers_after_a_restore(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "backup.aegis"
    with site.running() as client:
        finished(client, submit(client, samples(tmp_path)))
        before = answers(client)
        assert any(one["citations"] for one in before)
        talks = client.get("/api/v1/conversations", params={"limit": 500}).json()["conversations"]
        site.json("backup", file)
        for method, place in (("GET", "backup"), ("POST", "restore")):  # it holds what everybody wrote
            for headers in ({}, {"X-Aegis-Operator": "guessed"}):
                answer = client.request(method, f"/api/v1/admin/{place}", headers=headers, content=b"")
                assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
        assert site.cli("backup", file).returncode == 1  # a file that is there is not replaced
        # what comes after the backup goes with the restore, and the server says so while it is busy
        for document in client.get("/api/v1/documents").json()["documents"][:5]:
            client.delete(f"/api/v1/documents/{document['id']}")
        client.post("/api/v1/chat", json={"question": "Later?"})
        refused, stop = list[httpx.Response](), threading.Event()

        def look() -> None:
            with site.client() as other:
                while not stop.is_set():
                    answer = other.get("/api/v1/conversations")
                    if answer.status_code != 200:
                        refused.append(answer)
                    time.sleep(0.01)

        looking = threading.Thread(target=look)
        looking.start()
        state = site.json("restore", file, "--yes")
        stop.set()
        looking.join()
        assert state["phase"] == "done", state
        assert {answer.status_code for answer in refused} <= {503}
        assert all(answer.headers.get("retry-after") for answer in refused)
        assert client.get("/api/v1/conversations", params={"limit": 500}).json()["conversations"] == talks
        assert answers(client) == before
    other = Site(tmp_path / "elsewhere")
    assert other.json("restore", file, "--yes")["phase"] == "done"  # no server: the folder is made
    with other.running() as client:
        assert client.get("/api/v1/conversations", params={"limit": 500}).json()["conversations"] == talks
        assert answers(client) == before
