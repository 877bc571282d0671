"""Load on a loopback server: open-model arrivals, where latency counts from the moment a request was due, so that a
stalled server cannot hide; and a closed loop that finds the capacity."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(slots=True)
class Latencies:
    """Milliseconds of the answered requests; `failed` counts the others."""

    milliseconds: list[float] = field(default_factory=list[float])
    failed: int = 0
    seconds: float = 0.0
    by_body: dict[int, list[float]] = field(default_factory=dict[int, list[float]])

    def medians(self) -> list[float | None]:
        """Per body of the request, in their order; None for one that was never answered."""
        last = max(self.by_body, default=-1)
        found = (self.by_body.get(number) for number in range(last + 1))
        return [None if each is None else round(float(np.median(each)), 3) for each in found]

    def figures(self) -> dict[str, float]:
        if not self.milliseconds:
            return {"requests": 0, "failed": self.failed}
        p50, p95, p99 = np.percentile(self.milliseconds, (50, 95, 99))
        return {
            "p50_ms": round(float(p50), 2),
            "p95_ms": round(float(p95), 2),
            "p99_ms": round(float(p99), 2),
            "per_second": round(len(self.milliseconds) / self.seconds, 1),
            "requests": len(self.milliseconds),
            "failed": self.failed,
        }


@asynccontextmanager
async def session(url: str, connections: int = 64) -> AsyncGenerator[Any]:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(url, connector=connector) as opened:
        yield opened


async def at_rate(client: Any, path: str, bodies: Sequence[Any], rate: float, seconds: float) -> Latencies:
    """`rate` requests a second for `seconds`, each sent when it is due whatever became of those before."""
    found = Latencies()
    started = time.perf_counter()
    sent: list[asyncio.Task[None]] = []
    for number in range(int(rate * seconds)):
        due = started + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        sent.append(asyncio.create_task(_request(client, path, bodies, number % len(bodies), due, found)))
    await asyncio.gather(*sent)
    found.seconds = time.perf_counter() - started
    return found


async def at_capacity(client: Any, path: str, bodies: Sequence[Any], workers: int, seconds: float) -> Latencies:
    """`workers` callers that each send the next request when the last one is answered."""
    found = Latencies()
    started = time.perf_counter()

    async def caller(first: int) -> None:
        number = first
        while time.perf_counter() - started < seconds:
            await _request(client, path, bodies, number % len(bodies), time.perf_counter(), found)
            number += workers

    await asyncio.gather(*(caller(first) for first in range(workers)))
    found.seconds = time.perf_counter() - started
    return found


async def _request(client: Any, path: str, bodies: Sequence[Any], number: int, due: float, found: Latencies) -> None:
    import aiohttp

    try:
        async with client.post(path, json=bodies[number]) as response:
            await response.read()
            good = response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        good = False
    if good:
        took = (time.perf_counter() - due) * 1000
        found.milliseconds.append(took)
        found.by_body.setdefault(number, []).append(took)
    else:
        found.failed += 1
