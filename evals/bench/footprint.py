"""Memory of an idle server: PSS of each process of ours, beside the same engines' floor in a bare interpreter.

After the sample documents were taken in and the reading process has gone, and once more after questions.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import psutil

from evals.bench import corpus
from evals.bench.server import ROOT, Server, running_server

IDLE = 26.0  # seconds: the reading process goes after 20
QUESTIONS = 200
# What no arrangement of ours can do without: the embedder's weights, the web framework, the graph library.
FLOOR = """
import fastapi, langgraph.graph, sqlalchemy.ext.asyncio, chainlit, psutil
from retrieval.embedding.wordllama import load_wordllama
load_wordllama().embed_now(["warm"])
print(getattr(psutil.Process().memory_full_info(), "pss", psutil.Process().memory_info().rss))
"""


def bench(*, quiet: bool = False) -> dict[str, Any]:
    found = asyncio.run(_measure())
    if not quiet:
        _show(found)
    return found


async def _measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "var"
        async with running_server(data, {"AEGIS_INGESTION__SAMPLES": "yes"}) as server, _client(server) as client:
            await _taken_in(client)
            await asyncio.sleep(IDLE)
            idle = shares(server)
            for question in corpus.questions(QUESTIONS):
                await client.post("/api/v1/retrieval/search", json={"query": question})
                await client.post("/api/v1/chat", json={"question": question})
            used = shares(server)
        async with running_server(data) as server:
            await asyncio.sleep(2)
            again = shares(server)
        floor = await asyncio.to_thread(_floor, Path(folder))
    total = round(sum(idle.values()), 1)
    return {
        "idle_mb": {**idle, "sum": total},
        "after_questions_mb": {**used, "sum": round(sum(used.values()), 1)},
        "started_again_mb": {**again, "sum": round(sum(again.values()), 1)},
        "libraries_alone_mb": floor,
        "ratio": round(total / floor, 2),
    }


def _client(server: Server) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False)


def shares(server: Server) -> dict[str, float]:
    """PSS in MB by what a process is."""
    parent = psutil.Process(server.pid)
    found: dict[str, float] = {}
    for process in (parent, *parent.children(recursive=True)):
        used = process.memory_full_info()
        label = "server" if process.pid == server.pid else _role(" ".join(process.cmdline()))
        found[label] = round(found.get(label, 0.0) + getattr(used, "pss", used.rss) / 1e6, 1)
    return found


def _role(command: str) -> str:
    roles = {"shard/child": "vector index", "resource_tracker": "resource tracker", "spawn_main": "reading process"}
    return next((role for word, role in roles.items() if word in command), "other")


async def _taken_in(client: httpx.AsyncClient) -> None:
    for _ in range(600):
        listed = (await client.get("/api/v1/retrieval/jobs")).json()
        jobs = listed.get("jobs", []) if isinstance(listed, dict) else listed
        if jobs and all(job["state"] == "done" for job in jobs):
            return
        await asyncio.sleep(0.2)


def _floor(folder: Path) -> float:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CHAINLIT_APP_ROOT": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", FLOOR], env=environment, cwd=folder, capture_output=True, text=True, check=True
    )
    return round(int(done.stdout.split()[-1]) / 1e6, 1)


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    moments = ("idle_mb", "after_questions_mb", "started_again_mb")
    table = Table("PSS in MB", *(moment.removesuffix("_mb").replace("_", " ") for moment in moments))
    for role in dict.fromkeys(role for moment in moments for role in found[moment]):
        table.add_row(role, *(str(found[moment].get(role, "")) for moment in moments))
    console = Console()
    console.print(table)
    console.print(f"The libraries alone, with the embedder: {found['libraries_alone_mb']} MB; ratio x{found['ratio']}.")
