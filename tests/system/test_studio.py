"""`make studio`: the same graph and backends under `langgraph dev`, giving the same answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from evals.bench.server import ROOT, free_port
from tests.system.application import Site

pytest.importorskip("langgraph_cli", reason="the extra `studio` is not installed")

QUESTIONS = ("What is reciprocal rank fusion?", "How many documents are there?", "Hello!", "Who won the 1950 cup?")
SAMPLES = {"AEGIS_INGESTION__SAMPLES": "yes"}


@contextmanager
def studio(site: Site) -> Generator[subprocess.Popen[bytes]]:
    with site.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "aegis.cli", "studio"], env=site.environment(), cwd=ROOT, stdout=log, stderr=log
        )
    site.process = process
    try:
        site.wait_ready()
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def settled(client: httpx.Client) -> None:
    """The samples are in, and searchable."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        jobs = client.get("/api/v1/retrieval/jobs").json()
        rows = jobs.get("jobs", jobs) if isinstance(jobs, dict) else jobs
        if rows and all(job["state"] == "done" for job in rows):
            return
        time.sleep(0.3)
    raise AssertionError("the samples were not taken in")


def chat(client: httpx.Client, question: str) -> dict[str, Any]:
    answer = client.post("/api/v1/chat", json={"question": question})
    assert answer.status_code == 200, answer.text
    return told(answer.json())


def run(client: httpx.Client, question: str) -> dict[str, Any]:
    answer = client.post("/runs/wait", json={"assistant_id": "rag", "input": {"question": question}})
    assert answer.status_code == 200, answer.text
    return told(answer.json())


def told(answer: dict[str, Any]) -> dict[str, Any]:
    """What must be the same wherever it was asked."""
    keys = ("marker", "document_id", "chunk_id", "start", "end", "quote")
    return {
        "answer": answer["answer"],
        "abstained": bool(answer.get("abstained")),
        "route": answer.get("route"),
        "citations": [{key: citation[key] for key in keys} for citation in answer.get("citations") or ()],
    }


@pytest.mark.servers
def test_studio_answers_as_the_server_does(tmp_path: Path) -> None:
    site = Site(tmp_path / "var", SAMPLES)
    with site.running() as client:
        settled(client)
        served = [chat(client, question) for question in QUESTIONS]
    assert served[0]["citations"]
    with studio(site) as process:
        with site.client() as client:
            asked = [chat(client, question) for question in QUESTIONS]
            run_by_langgraph = [run(client, question) for question in QUESTIONS]
        beside = Site(site.folder, SAMPLES, free_port()).cli("studio")
        assert beside.returncode == 1
        assert "aegis studio" in beside.stderr
        assert "AEGIS_DATA_DIR" in beside.stderr
        children = psutil.Process(process.pid).children(recursive=True)
        assert children  # the vector index
        process.send_signal(signal.SIGINT)
        process.wait(30)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    assert asked == served
    assert run_by_langgraph == served


@pytest.mark.servers
def test_studio_beside_a_server_is_refused(tmp_path: Path) -> None:
    site = Site(tmp_path / "var")
    with site.running():
        refused = Site(site.folder, port=free_port()).cli("studio")
    assert refused.returncode == 1
    assert "in use by" in refused.stderr
    assert "aegis serve" in refused.stderr
    assert str(os.getpid()) not in refused.stderr
