"""Hybrid search through HTTP beside the raw engine: the same questions, the same filter, the same points, one run.

The server runs in its own process on a fresh folder with 10,000 chunks of 1,024 dimensions; load comes from this one.
AEGIS_BENCH_CHUNKS, AEGIS_BENCH_DIMENSIONS and AEGIS_BENCH_SECONDS change the sizes. `--compare FILE`: beside what
`--json` printed before, question by question.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from aegis.errors import IndexUnavailable
from evals.bench import corpus
from evals.bench.comparison import baseline, ratio
from evals.bench.load import Latencies, at_capacity, at_rate, session
from evals.bench.server import Server, running_server

SEARCH = "/api/v1/retrieval/search"
RATE = 100.0
QUESTIONS = 500
WORKERS = 8
BATCH = 25  # documents of one request
WARM_UP = 3.0
BY_QUESTION = ("at_100_by_question_ms", "capacity_by_question_ms")
DEPTH = 50  # of each half, as retrieval.candidates


def bench(*, quiet: bool = False, compare: str = "") -> dict[str, Any]:
    """Raises InvalidInput when `compare` names no earlier result."""
    before = baseline(compare) if compare else None
    found = asyncio.run(_measure())
    if before is not None:
        found["compared"] = {name: ratio(found["http"][name], before["http"][name]) for name in BY_QUESTION}
    if not quiet:
        _show(found)
    return found


async def _measure() -> dict[str, Any]:
    chunks = int(os.environ.get("AEGIS_BENCH_CHUNKS", "10000"))
    dimensions = int(os.environ.get("AEGIS_BENCH_DIMENSIONS", "1024"))
    seconds = float(os.environ.get("AEGIS_BENCH_SECONDS", "20"))
    asked = corpus.questions(QUESTIONS)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "var"
        settings = {"AEGIS_EMBEDDER__DIMENSIONS": str(dimensions), "AEGIS_INGESTION__SAMPLES": "no"}
        async with running_server(data, settings) as server:
            ingest = await fill(server, chunks)
            http = await _load(server, asked, seconds)
            memory = server.memory()
        raw = await asyncio.to_thread(_raw, data, dimensions, asked)
    return {
        "chunks": ingest["chunks"],
        "dimensions": dimensions,
        "ingest": ingest,
        "http": http,
        "engine": raw,
        "ratio_p50": round(http["at_100"]["p50_ms"] / raw["p50_ms"], 2),
        "ratio_p95": round(http["at_100"]["p95_ms"] / raw["p95_ms"], 2),
        "ratio_per_second": round(http["capacity"]["per_second"] / raw["per_second"], 2),
        "pss_mb": {**memory, "sum": round(sum(memory.values()), 1)},
    }


async def fill(server: Server, chunks: int) -> dict[str, Any]:
    """Takes in the benchmarks' corpus; returns when it is indexed: {"chunks", "seconds", "chunks_per_second"}."""
    documents = list(corpus.documents(chunks))
    started = time.perf_counter()
    written = 0
    async with httpx.AsyncClient(base_url=server.url, timeout=120, trust_env=False) as client:
        jobs: list[str] = []
        for first in range(0, len(documents), BATCH):
            body = {"documents": documents[first : first + BATCH]}
            answer = await client.post("/api/v1/retrieval/ingest", json=body)
            answer.raise_for_status()
            jobs.append(answer.json()["job_id"])
        for job_id in jobs:
            written += await _finished(client, job_id)
        seconds = time.perf_counter() - started
        await _settled(client)
    return {"chunks": written, "seconds": round(seconds, 1), "chunks_per_second": round(written / seconds, 1)}


async def _finished(client: httpx.AsyncClient, job_id: str) -> int:
    while True:
        job = (await client.get(f"/api/v1/retrieval/jobs/{job_id}")).json()
        if job["state"] in ("done", "failed", "cancelled"):
            return int(job["chunks"])
        await asyncio.sleep(0.2)


async def _settled(client: httpx.AsyncClient) -> None:
    """Until an index that may be being built has taken over: three seconds in which nothing builds."""
    await asyncio.sleep(3)
    for _ in range(300):
        checks = (await client.get("/health/ready")).json()["checks"]
        vectors = next(check for check in checks if check["name"] == "vectors")
        if not vectors["detail"].get("building") and vectors["state"] == "up":
            return
        await asyncio.sleep(1)


async def _load(server: Server, asked: Sequence[str], seconds: float) -> dict[str, Any]:
    bodies = [{"query": question, "mode": "hybrid", "top_k": 10} for question in asked]
    async with session(server.url) as client:
        await at_rate(client, SEARCH, bodies, RATE, WARM_UP)
        steady = await at_rate(client, SEARCH, bodies, RATE, seconds)
        full = await at_capacity(client, SEARCH, bodies, WORKERS, seconds)
    by_question = {"at_100_by_question_ms": steady.medians(), "capacity_by_question_ms": full.medians()}
    return {"at_100": steady.figures(), "capacity": full.figures(), **by_question}


def _raw(data: Path, dimensions: int, asked: Sequence[str]) -> dict[str, float]:
    """The engine alone, in this process, on the points that the server left, with the same filter and depth."""
    import qdrant_edge as edge

    from retrieval.embedding.wordllama import load_wordllama
    from retrieval.keywords import KeywordEncoder
    from retrieval.store.edge_folder import Generations

    embedder, keywords = load_wordllama(dimensions), KeywordEncoder()
    generation = Generations(data / "vectors" / embedder.name).current()
    if generation is None:
        raise IndexUnavailable("The server left no index to measure.")
    shard = edge.EdgeShard.load(str(generation / "shard"))
    seen = edge.Filter(
        must=[
            edge.FieldCondition("collection", match=edge.MatchAny(["default"])),
            edge.FieldCondition("visible_from", range=edge.RangeFloat(lte=2**52)),
            edge.FieldCondition("visible_until", range=edge.RangeFloat(gt=2**52)),
        ]
    )
    requests: list[Any] = []
    for question in asked:
        dense, sparse = embedder.embed_now([question])[0].tolist(), keywords.query(question)
        halves = (
            edge.Query.Nearest(dense, using="dense"),
            edge.Query.Nearest(edge.SparseVector(list(sparse.indices), list(sparse.values)), using="sparse"),
        )
        both = [edge.QueryRequest(limit=DEPTH, query=half, filter=seen) for half in halves]
        requests.append(edge.QueryBatchRequest(both))
    found = Latencies()
    for number, request in enumerate([*requests, *requests]):
        started = time.perf_counter()
        shard.query_batch(request)
        if number >= len(requests):  # the first round warms up
            found.milliseconds.append((time.perf_counter() - started) * 1000)
    found.seconds = sum(found.milliseconds) / 1000
    shard.close()
    return found.figures()


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    title = f"Hybrid search, {found['chunks']:,} chunks x {found['dimensions']}, scope and epoch filter on"
    table = Table("", "p50 ms", "p95 ms", "p99 ms", "per second", "failed", title=title)
    rows = (
        ("HTTP at 100 a second", found["http"]["at_100"]),
        (f"HTTP, {WORKERS} callers", found["http"]["capacity"]),
        ("engine alone, one thread", found["engine"]),
    )
    for label, row in rows:
        cells = (row[key] for key in ("p50_ms", "p95_ms", "p99_ms", "per_second", "failed"))
        table.add_row(label, *map(str, cells))
    console = Console()
    console.print(table)
    console.print(
        f"HTTP at 100 / engine: p50 x{found['ratio_p50']}, p95 x{found['ratio_p95']}; "
        f"capacity x{found['ratio_per_second']}. Ingested {found['ingest']['chunks_per_second']} chunks a second. "
        f"PSS {found['pss_mb']['sum']} MB."
    )
    for label, name in zip(("At 100 a second", f"{WORKERS} callers"), BY_QUESTION, strict=True):
        if compared := found.get("compared", {}).get(name):
            console.print(
                f"{label}, now / before: x{compared['ratio']} (95 %: {compared['low']} to {compared['high']}, "
                f"{compared['questions']} questions)."
            )
