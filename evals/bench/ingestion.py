"""Chunks per second from the request to the last index: read, embedded, facts drawn, published, and confirmed.

The clock stops when every job is done and every projection (vectors, what is learned from turns, Neo4j where it is set)
has confirmed the last row of the outbox. Meanwhile turns are committed, one after the other, by chat requests that need
no model; how long the longest write transaction held the store, and how long a turn waited for its own, is read from
the server. Its own processor time is printed beside, which does not depend on what else the machine does.
The same again with PostgreSQL and Neo4j, where they can be had (`real.py`): vectors stay in Qdrant Edge.
AEGIS_BENCH_CHUNKS: 3,000.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil

from aegis.errors import NotFound
from evals.bench import corpus
from evals.bench.http import BATCH
from evals.bench.real import some
from evals.bench.server import Server, running_server

WANTED = 150.0  # chunks per second
BOUND = 50.0  # milliseconds a turn committed meanwhile may wait for the store
PAUSE = 0.2  # seconds between two turns


def bench(*, quiet: bool = False) -> dict[str, Any]:
    found = asyncio.run(_measure({}))
    if not quiet:
        _show("SQLite, graph in its tables", found)
    found["postgres_neo4j"] = servers = _with_servers()
    if not quiet:
        _show("PostgreSQL and Neo4j", servers)
    return found


def _with_servers() -> dict[str, Any]:
    try:
        with some("postgres") as store, some("neo4j") as graph:
            settings = {"AEGIS_DATABASE__KIND": "postgres", "AEGIS_DATABASE__URL": store}
            settings |= {"AEGIS_GRAPH__KIND": "neo4j", "AEGIS_GRAPH__URL": graph, "AEGIS_GRAPH__USER": ""}
            return asyncio.run(_measure(settings))
    except NotFound as missing:
        return {"skipped": missing.message}


async def _measure(settings: Mapping[str, str]) -> dict[str, Any]:
    documents = list(corpus.documents(int(os.environ.get("AEGIS_BENCH_CHUNKS", "3000"))))
    with tempfile.TemporaryDirectory() as folder:
        async with (
            running_server(Path(folder) / "var", {"AEGIS_INGESTION__SAMPLES": "no", **settings}) as server,
            httpx.AsyncClient(base_url=server.url, timeout=120, trust_env=False) as client,
        ):
            talking = asyncio.create_task(_talk(client))
            before, started = _processor(server), time.perf_counter()
            jobs = [await _sent(client, documents[at : at + BATCH]) for at in range(0, len(documents), BATCH)]
            chunks = sum([await _finished(client, job_id) for job_id in jobs])
            await _confirmed(client)
            seconds, spent = time.perf_counter() - started, _processor(server) - before
            talking.cancel()
            await asyncio.wait({talking})
            return {
                "chunks": chunks,
                "seconds": round(seconds, 1),
                "chunks_per_second": round(chunks / seconds, 1),
                "processor_seconds": round(spent, 1),
                "chunks_per_processor_second": round(chunks / spent, 1),
                "longest_write_ms": await _longest(client, "write"),
                "longest_wait_ms": await _longest(client, "wait"),
            }


async def _sent(client: httpx.AsyncClient, documents: list[dict[str, str]]) -> str:
    answer = await client.post("/api/v1/retrieval/ingest", json={"documents": documents})
    answer.raise_for_status()
    return str(answer.json()["job_id"])


async def _finished(client: httpx.AsyncClient, job_id: str) -> int:
    while True:
        job = (await client.get(f"/api/v1/retrieval/jobs/{job_id}")).json()
        if job["state"] not in ("queued", "running"):
            return int(job["chunks"])
        await asyncio.sleep(0.1)


async def _confirmed(client: httpx.AsyncClient) -> None:
    """Until no projection has a row left to apply."""
    while True:
        checks = (await client.get("/health/ready")).json()["checks"]
        left = [check["detail"]["backlog"] for check in checks if "backlog" in (check["detail"] or {})]
        if left and not any(left):
            return
        await asyncio.sleep(0.05)


async def _talk(client: httpx.AsyncClient) -> None:
    """For ever: turns that are committed while documents come in."""
    while True:
        await client.post("/api/v1/chat", json={"question": "Hello there!"})
        await asyncio.sleep(PAUSE)


async def _longest(client: httpx.AsyncClient, what: str) -> float:
    """Of the last minute, in milliseconds: a transaction's `write`, or a turn's `wait` before its own."""
    for line in (await client.get("/metrics")).text.splitlines():
        if line.startswith(f"aegis_database_{what}_longest_seconds "):
            return round(float(line.split()[1]) * 1000, 1)
    return 0.0


def _processor(server: Server) -> float:
    """Seconds of processor time of the server and its children, until now."""
    parent = psutil.Process(server.pid)
    times = [process.cpu_times() for process in (parent, *parent.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def _show(stores: str, found: dict[str, Any]) -> None:
    from rich.console import Console

    if why := found.get("skipped"):
        Console(width=120).print(f"{stores}: left out. {why}")
        return
    Console(width=120).print(
        f"{stores}: {found['chunks']:,} chunks in {found['seconds']} s: {found['chunks_per_second']} a second "
        f"(wanted {WANTED:g}, x{found['chunks_per_second'] / WANTED:.2f}); {found['processor_seconds']} s of processor "
        f"time, {found['chunks_per_processor_second']} chunks for each. Longest write {found['longest_write_ms']} ms, "
        f"longest wait of a turn for its own {found['longest_wait_ms']} ms (bound {BOUND:g}), in the last minute."
    )
