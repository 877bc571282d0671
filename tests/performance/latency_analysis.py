"""Where the time of a question goes, from the application's own histograms, and from one slow request.

    python -m tests.performance.latency_analysis --url http://127.0.0.1:8000 --seconds 30

Asks the original report's mix at --rate meanwhile (0: only watches). What is not accounted for is the mean length of a
chat request less the mean time in its nodes; nodes that run side by side (retrieve, consult_graph) count the longer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import httpx

from tests.performance.prometheus import Samples, Seen, between, histograms, samples
from tests.performance.scenarios import ORIGINAL, Request, requests

CHAT = "/api/v1/chat"
SIDE_BY_SIDE = ("retrieve", "consult_graph")


def analysis(found: Samples) -> dict[str, Any]:
    """`found`: what /metrics counted between two looks."""
    routes = {
        dict(labels)["route"]: seen
        for labels, seen in histograms(found, "aegis_request_seconds").items()
        if dict(labels)["route"].startswith("/api/")
    }
    nodes = {dict(labels)["node"]: seen for labels, seen in histograms(found, "aegis_node_seconds").items()}
    backends = {
        " ".join(value for _, value in labels): seen
        for labels, seen in histograms(found, "aegis_backend_seconds").items()
    }
    return {
        "routes": {name: seen.figures() for name, seen in sorted(routes.items())},
        "nodes": {name: seen.figures() for name, seen in nodes.items()},
        "backends": {name: seen.figures() for name, seen in backends.items()},
        "chat": _accounted(routes.get(CHAT), nodes),
    }


def _accounted(chat: Seen | None, nodes: Mapping[str, Seen]) -> dict[str, float]:
    """Mean milliseconds of a chat request, per node as far as it runs in one, and the rest."""
    if chat is None:
        return {}
    shares = {name: 1000 * seen.seconds / chat.count for name, seen in nodes.items()}
    hidden = min((shares.get(name, 0.0) for name in SIDE_BY_SIDE), default=0.0)
    rest = chat.mean_ms - sum(shares.values()) + hidden
    return {
        "request": round(chat.mean_ms, 3),
        **{name: round(share, 3) for name, share in shares.items()},
        "side by side": round(-hidden, 3),
        "not accounted for": round(rest, 3),
    }


async def measured(url: str, seconds: float, rate: float) -> dict[str, Any]:
    """Raises httpx.HTTPError when the server is not there."""
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        before = samples((await client.get("/metrics")).text)
        slow = await _asked(client, seconds, rate)
        after = samples((await client.get("/metrics")).text)
    return {**analysis(between(before, after)), "slow_request": slow}


async def _asked(client: httpx.AsyncClient, seconds: float, rate: float) -> dict[str, Any]:
    """The slowest chat answer: how long it took and what its turn says of its nodes."""
    if rate <= 0:
        await asyncio.sleep(seconds)
        return {}
    slowest: dict[str, Any] = {"took_ms": 0.0}

    async def ask(request: Request) -> None:
        began = time.perf_counter()
        if request.body is None:
            await client.get(request.path)
            return
        answer = await client.post(request.path, json=dict(request.body))
        took = (time.perf_counter() - began) * 1000
        if request.path == CHAT and answer.is_success and took > slowest["took_ms"]:
            body = answer.json()
            slowest.update(took_ms=round(took, 2), route=body["route"], timings=body["timings"])

    began, asked = time.perf_counter(), requests(ORIGINAL)
    async with asyncio.TaskGroup() as group:
        for number in range(int(seconds * rate)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            group.create_task(ask(next(asked)))
    return slowest


def show(found: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for kind in ("routes", "nodes", "backends"):
        table = Table(kind, "count", "mean ms", "p50", "p95", "p99")
        for name, row in sorted(found[kind].items(), key=lambda pair: -pair[1]["mean_ms"]):
            table.add_row(name, *(f"{row[key]:g}" for key in ("count", "mean_ms", "p50_ms", "p95_ms", "p99_ms")))
        console.print(table)
    console.print("A chat request, mean ms:", found["chat"])
    console.print("The slowest:", found["slow_request"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Where the time of a question goes.")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rate", type=float, default=20, help="requests a second; 0 only watches")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = asyncio.run(measured(given.url, given.seconds, given.rate))
    if given.json:
        print(json.dumps(found, indent=1))  # noqa: T201  # a command's own output
    else:
        show(found)


if __name__ == "__main__":
    main()
