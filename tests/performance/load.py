"""`make load`: the scenarios one after the other, then everything that is written about them.

    python -m tests.performance.load [--short] [--profile extractive|ollama] [--scenario NAME] [--into FOLDER]

Per profile a server of ours on a fresh folder with 10,000 chunks of 1,024 dimensions; the load comes from Locust in a
process of its own. Into the folder go Locust's CSV, every request as a line, and `results.json`, from which
`python -m tests.performance.report` makes docs/performance.md and its plots.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rich.console import Console

from evals.bench import corpus
from evals.bench.http import SEARCH, fill
from evals.bench.load import at_capacity, at_rate, session
from evals.bench.server import ROOT, Server, free_port, running_process, running_server
from tests.performance import memory_profile
from tests.performance.latency_analysis import analysis
from tests.performance.machine import machine
from tests.performance.prometheus import between, samples
from tests.performance.scenarios import TOP_K, Scenario, scenarios
from tests.servers.ollama import running_ollama_like

CHUNKS = 10_000
MODELS: Mapping[str, float] = {"llama3.2:3b": 180.0}  # tokens a second, as the original report has them
CALLERS = 8
ALONE = 20.0  # seconds of hybrid search alone
RIVAL_RATE = 20.0

console = Console(stderr=True)


async def measured(given: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {"at": datetime.now(UTC).isoformat(), "machine": machine(), "chunks": given.chunks}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "var"
        found["profiles"] = {}
        for name in given.profile:
            async with _profile(name, data) as server:
                if not found["profiles"]:
                    console.print(f"Taking in {given.chunks:,} chunks of 1,024 dimensions ...")
                    found["ingest"] = await fill(server, given.chunks)
                    found["alone"] = await _alone(server.url)
                found["profiles"][name] = await _scenarios(server, name, found["alone"]["capacity"], given)
        found["stores_mb"] = _sizes(data)
    if given.rival:
        found["rival"] = await _rival(given.chunks)
    return found


@asynccontextmanager
async def _profile(name: str, data: Path) -> AsyncGenerator[Server]:
    """`extractive`: no model server. `ollama`: one that speaks its protocol, at the speed of the original's table."""
    settings = {"AEGIS_EMBEDDER__DIMENSIONS": "1024", "AEGIS_INGESTION__SAMPLES": "no"}
    if name == "extractive":
        async with running_server(data, settings) as server:
            yield server
        return
    model, speed = next(iter(MODELS.items()))
    with running_ollama_like() as models:
        models.tokens_per_second, models.first_token_after = speed, 0.02
        settings |= {"AEGIS_OLLAMA__URL": f"http://127.0.0.1:{models.port}", "AEGIS_OLLAMA__MODEL": model}
        async with running_server(data, settings) as server:
            yield server


async def _alone(url: str) -> dict[str, Any]:
    """Hybrid search alone: how many a second, and how fast when it is not pressed."""
    bodies = [{"query": question, "mode": "hybrid", "top_k": TOP_K} for question in corpus.questions(500)]
    async with session(url) as client:
        await at_rate(client, SEARCH, bodies, RIVAL_RATE, 3)
        calm = await at_rate(client, SEARCH, bodies, RIVAL_RATE, ALONE)
        full = await at_capacity(client, SEARCH, bodies, CALLERS, ALONE)
    return {"calm": calm.figures(), "full": full.figures(), "capacity": full.figures()["per_second"]}


async def _scenarios(server: Server, profile: str, capacity: float, given: argparse.Namespace) -> dict[str, Any]:
    known = scenarios(short=given.short, capacity=capacity)
    found: dict[str, Any] = {}
    for name, scenario in known.items():
        if name in (given.scenario or known):
            console.print(f"{profile}, {scenario.title}, {scenario.seconds:.0f} s ...")
            found[name] = await _run(server, profile, scenario, capacity, given)
            console.print(found[name]["all"])
    return found


async def _run(
    server: Server, profile: str, scenario: Scenario, capacity: float, given: argparse.Namespace
) -> dict[str, Any]:
    label = f"{profile}-{scenario.name}"
    lines = given.into / f"{label}.tsv"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "AEGIS_LOAD_SCENARIO": scenario.name,
        "AEGIS_LOAD_SHORT": "yes" if given.short else "no",
        "AEGIS_LOAD_CAPACITY": str(capacity),
        "AEGIS_LOAD_SAMPLES": str(lines),
    }
    command = (
        sys.executable, "-m", "locust", "-f", str(ROOT / "tests/performance/locustfile.py"), "--headless",
        "--host", server.url, "--csv", str(given.into / label), "--only-summary", "--loglevel", "WARNING",
    )  # fmt: skip
    seen: list[memory_profile.Moment] = []
    before = await _metrics(server)
    watching = asyncio.create_task(memory_profile.watched(server, seen))
    locust = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    await locust.wait()
    watching.cancel()
    counted = analysis(between(samples(before), samples(await _metrics(server))))
    return {"title": scenario.title, "seconds": scenario.seconds, **figures(lines), **_memory(seen), "inside": counted}


async def _metrics(server: Server) -> str:
    async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client:
        return (await client.get("/metrics")).text


def figures(lines: Path) -> dict[str, Any]:
    """{"all", "by_request": {name: ...}, "timeline"} from what the locustfile wrote."""
    rows = [line.split("\t") for line in lines.read_text(encoding="utf-8").splitlines()]
    names = sorted({row[0] for row in rows})
    by_name = {name: _summary([row for row in rows if row[0] == name]) for name in names}
    return {"all": _summary(rows), "by_request": by_name, "timeline": _timeline(rows)}


def _summary(rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    """`shed`: refused with 503 at once, which is no failure of an accepted request."""
    answered = [float(row[2]) for row in rows if row[3] in ("200", "202")]
    shed = sum(row[3] == "503" for row in rows)
    found: dict[str, Any] = {"requests": len(rows), "shed": shed, "failed": len(rows) - len(answered) - shed}
    if answered:
        percentiles = np.percentile(answered, (50, 95, 99, 100))
        names = ("p50_ms", "p95_ms", "p99_ms", "most_ms")
        found |= {name: round(float(value), 2) for name, value in zip(names, percentiles, strict=True)}
    return found


def _timeline(rows: Sequence[Sequence[str]], step: float = 5.0) -> list[dict[str, Any]]:
    """Steps of five seconds, by when a request was due."""
    steps: dict[int, list[Sequence[str]]] = {}
    for row in rows:
        steps.setdefault(int(float(row[1]) // step), []).append(row)
    return [{"at": number * step, "rate": len(part) / step, **_summary(part)} for number, part in sorted(steps.items())]


def _memory(seen: Sequence[memory_profile.Moment]) -> dict[str, Any]:
    if not seen:
        return {"memory": [], "most_mb": 0.0}
    return {"memory": [asdict(one) for one in seen[::5]], "most_mb": round(max(one.total for one in seen), 1)}


def _sizes(data: Path) -> dict[str, float]:
    """MB on disk by store."""
    found: dict[str, float] = {}
    for file in data.rglob("*"):
        if file.is_file():
            store = file.relative_to(data).parts[0]
            found[store] = found.get(store, 0.0) + file.stat().st_size / 1e6
    return {store: round(size, 1) for store, size in sorted(found.items())}


async def _rival(chunks: int) -> dict[str, Any]:
    console.print("The server a user would write with LangChain, on the same passages ...")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = (sys.executable, "-m", "tests.performance.rival", str(port), str(chunks))
        async with running_process(command, port, Path(folder) / "rival", {"PYTHONPATH": str(ROOT)}) as server:
            found = await _alone(server.url)
            return {**found, "memory_mb": round(sum(server.memory().values()), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Load tests, one after the other.")
    parser.add_argument("--short", action="store_true", help="a minute for each scenario")
    parser.add_argument("--profile", action="append", choices=("extractive", "ollama"))
    parser.add_argument("--scenario", action="append", help="only these")
    parser.add_argument("--chunks", type=int, default=CHUNKS)
    parser.add_argument("--no-rival", dest="rival", action="store_false")
    parser.add_argument("--into", type=Path, default=Path("results/load"))
    given = parser.parse_args()
    given.profile = given.profile or ["extractive", "ollama"]
    shutil.rmtree(given.into, ignore_errors=True)
    given.into.mkdir(parents=True)
    found = asyncio.run(measured(given))
    (given.into / "results.json").write_text(json.dumps(found), encoding="utf-8")
    console.print(f"Written: {given.into / 'results.json'}")


if __name__ == "__main__":
    main()
