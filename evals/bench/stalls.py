"""How long the event loop stalls and a write lasts while documents are ingested, published, indexed and searched.

Beside it the floor: the same ticks, and small writes to the same disk, in an empty process at the same time, which is
what the machine itself makes late.
`busy` is the part of a lag in which the server had the processor: what is its own doing. AEGIS_BENCH_CHUNKS: 10,000.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from evals.bench import corpus
from evals.bench.server import Server, running_server

GAUGES = {
    "lag_ms": "aegis_loop_lag_longest_seconds",
    "busy_ms": "aegis_loop_busy_longest_seconds",
    "write_ms": "aegis_database_write_longest_seconds",
}
BATCH = 25  # documents of one request
AHEAD = 4  # jobs under way at a time
PAUSE = 0.1  # seconds between two searches
LOOK = 10.0  # seconds between two looks at the gauges, which cover a minute
SETTLE = 5.0
EMPTY = """
import asyncio, os, sys, tempfile, time
async def main():
    late = write = 0.0
    end = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    with tempfile.TemporaryFile() as file:
        while not end.done():
            due = time.perf_counter() + 0.01
            await asyncio.sleep(0.01)
            began = time.perf_counter()
            late = max(late, began - due)
            file.seek(0)
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            write = max(write, time.perf_counter() - began)
    print(late, write)
asyncio.run(main())
"""


@dataclass(slots=True)
class Seen:
    longest: dict[str, float] = field(default_factory=dict[str, float])
    searches: list[float] = field(default_factory=list[float])
    failed: int = 0
    pss: list[float] = field(default_factory=list[float])


def bench(*, quiet: bool = False) -> dict[str, Any]:
    found = asyncio.run(_measure(int(os.environ.get("AEGIS_BENCH_CHUNKS", "10000"))))
    if not quiet:
        _show(found)
    return found


async def _measure(chunks: int) -> dict[str, Any]:
    seen = Seen()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "var"
        async with running_server(data, {"AEGIS_INGESTION__SAMPLES": "no"}) as server, _client(server) as client:
            machine = await asyncio.create_subprocess_exec(
                sys.executable, "-c", EMPTY, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
            async with _watched(client, server, seen):
                started = time.perf_counter()
                written = await _fill(client, chunks)
                seconds = time.perf_counter() - started
                await _replace(client, chunks)
                await asyncio.sleep(SETTLE)
            said, _ = await machine.communicate(b"")
        log = data.with_name("var.log").read_text("utf-8", "replace")
    floor, disk = (float(figure) * 1000 for figure in said.split())
    p50, p95 = np.percentile(seen.searches, (50, 95))
    return {
        "chunks": written,
        "seconds": round(seconds, 1),
        "chunks_per_second": round(written / seconds, 1),
        "indexes_built": log.count("An index was built"),
        **{name: round(value * 1000, 1) for name, value in seen.longest.items()},
        "machine_lag_ms": round(floor, 1),
        "machine_write_ms": round(disk, 1),
        "ratio": round(seen.longest["lag_ms"] * 1000 / floor, 2),
        "search_p50_ms": round(float(p50), 1),
        "search_p95_ms": round(float(p95), 1),
        "searches": len(seen.searches),
        "searches_failed": seen.failed,
        "pss_mb": {"least": min(seen.pss), "most": max(seen.pss), "last": seen.pss[-1]},
    }


def _client(server: Server) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, timeout=120, trust_env=False)


async def _fill(client: httpx.AsyncClient, chunks: int) -> int:
    """Chunks written."""
    free, written = asyncio.Semaphore(AHEAD), 0
    documents = list(corpus.documents(chunks))

    async def job(first: int) -> None:
        nonlocal written
        async with free:
            found = await _ingested(client, documents[first : first + BATCH])
        written += found  # not across the await: other jobs add to it

    await asyncio.gather(*(job(first) for first in range(0, len(documents), BATCH)))
    return written


async def _replace(client: httpx.AsyncClient, chunks: int) -> None:
    """New versions of some documents: publishing then hides the old ones."""
    documents = [document for document, _ in zip(corpus.documents(chunks, seed=8), range(2 * BATCH), strict=False)]
    await _ingested(client, documents)


async def _ingested(client: httpx.AsyncClient, documents: list[dict[str, str]]) -> int:
    answer = await client.post("/api/v1/retrieval/ingest", json={"documents": documents})
    answer.raise_for_status()
    while True:
        job = (await client.get(f"/api/v1/retrieval/jobs/{answer.json()['job_id']}")).json()
        if job["state"] in ("done", "failed", "cancelled"):
            return int(job["chunks"])
        await asyncio.sleep(0.3)


@asynccontextmanager
async def _watched(client: httpx.AsyncClient, server: Server, seen: Seen) -> AsyncGenerator[None]:
    tasks = [asyncio.create_task(_search(client, seen)), asyncio.create_task(_look(client, server, seen))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _read(client, server, seen)


async def _search(client: httpx.AsyncClient, seen: Seen) -> None:
    while True:
        for question in corpus.questions(200):
            started = time.perf_counter()
            answer = await client.post("/api/v1/retrieval/search", json={"query": question, "mode": "hybrid"})
            seen.searches.append((time.perf_counter() - started) * 1000)
            seen.failed += not answer.is_success
            await asyncio.sleep(PAUSE)


async def _look(client: httpx.AsyncClient, server: Server, seen: Seen) -> None:
    while True:
        await _read(client, server, seen)
        await asyncio.sleep(LOOK)


async def _read(client: httpx.AsyncClient, server: Server, seen: Seen) -> None:
    metrics = gauges((await client.get("/metrics")).text)
    for name, gauge in GAUGES.items():
        seen.longest[name] = max(seen.longest.get(name, 0.0), metrics[gauge])
    seen.pss.append(round(sum(server.memory().values()), 1))


def gauges(text: str) -> Mapping[str, float]:
    """Samples without labels of Prometheus' text format."""
    lines = (line.split() for line in text.splitlines() if not line.startswith("#") and "{" not in line)
    return {name: float(value) for name, value in lines}


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("longest, ms", "server", title=f"{found['chunks']:,} chunks, {found['indexes_built']} indexes built")
    rows = (("event loop late", "lag_ms"), ("of it at work", "busy_ms"), ("write transaction", "write_ms"))
    for label, name in rows:
        table.add_row(label, str(found[name]))
    table.add_row("an empty process late", str(found["machine_lag_ms"]))
    table.add_row("its write of 4 KB", str(found["machine_write_ms"]))
    console = Console()
    console.print(table)
    console.print(
        f"Searches meanwhile: p50 {found['search_p50_ms']} ms, p95 {found['search_p95_ms']} ms, "
        f"{found['searches_failed']} of {found['searches']} failed. {found['chunks_per_second']} chunks a second. "
        f"PSS {found['pss_mb']['least']} to {found['pss_mb']['most']} MB. Lag / empty process: x{found['ratio']}."
    )
