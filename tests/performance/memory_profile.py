"""Memory under load, second by second, and whether it leaks.

    python -m tests.performance.memory_profile --minutes 20 --rate 50
    python -m tests.performance.memory_profile --minutes 1 --heap --flame profile.svg

Starts a server of its own on a fresh folder and asks the original report's mix. Each second: PSS of all its processes,
threads, file descriptors. The verdict is a straight line through the means of blocks of half a minute (neighbouring
seconds are not independent), warm-up left out, with the 95 % interval of its slope; under 20 minutes there is none.
--heap: memray's peak by allocation site. --flame: py-spy's picture, where the system lets it attach.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from evals.bench.footprint import shares
from evals.bench.http import fill
from evals.bench.server import Server, running_server
from tests.performance.latency_analysis import measured

BLOCK = 30  # seconds whose mean is one point of the line
WARM_UP = 0.2  # share of the run in which caches fill
LEAST_MINUTES = 20.0
HARMLESS = 5.0  # MB an hour: less than a restart a month would show
SITES = 15


@dataclass(frozen=True, slots=True)
class Moment:
    """`pss_mb` by what a process is."""

    at: float
    pss_mb: dict[str, float]
    threads: int
    descriptors: int

    @property
    def total(self) -> float:
        return sum(self.pss_mb.values())


def moment(server: Server, began: float) -> Moment:
    parent = psutil.Process(server.pid)
    everyone = [parent, *parent.children(recursive=True)]
    threads = sum(process.num_threads() for process in everyone)
    descriptors = sum(getattr(process, "num_fds", process.num_threads)() for process in everyone)
    return Moment(round(time.monotonic() - began, 2), shares(server), threads, descriptors)


async def watched(server: Server, seen: list[Moment], interval: float = 1.0) -> None:
    """For ever. A process that ends between two calls is seen again, or not, a second later."""
    began = time.monotonic()
    while True:
        with suppress(psutil.NoSuchProcess):
            seen.append(await asyncio.to_thread(moment, server, began))
        await asyncio.sleep(interval)


def slope(seen: Sequence[Moment]) -> dict[str, float]:
    """MB an hour of the PSS sum: {"mb_per_hour", "low", "high"}, the 95 % interval by Student's t on block means."""
    from scipy import stats

    kept = [one for one in seen if one.at >= WARM_UP * seen[-1].at]
    blocks: dict[int, list[Moment]] = {}
    for one in kept:
        blocks.setdefault(int(one.at // BLOCK), []).append(one)
    hours = [float(np.mean([one.at for one in block])) / 3600 for block in blocks.values()]
    totals = [float(np.mean([one.total for one in block])) for block in blocks.values()]
    if len(totals) < 3:
        return {}
    line: Any = stats.linregress(hours, totals)
    wide = float(stats.t.ppf(0.975, len(totals) - 2)) * float(line.stderr)
    found = {"mb_per_hour": float(line.slope), "low": float(line.slope) - wide, "high": float(line.slope) + wide}
    return {name: round(value, 1) for name, value in found.items()}


def verdict(found: dict[str, float], minutes: float) -> str:
    if not found or minutes < LEAST_MINUTES:
        return f"no verdict: {LEAST_MINUTES:g} minutes are needed"
    if found["low"] > HARMLESS:
        return "grows"
    return "does not grow" if found["high"] <= HARMLESS or found["low"] <= 0 <= found["high"] else "unclear"


async def profiled(chunks: int, minutes: float, rate: float, *, heap: bool, flame: Path | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "heap.bin"
        wrapped = ("-m", "memray", "run", "--quiet", "--output", str(record)) if heap else ()
        settings = {"AEGIS_EMBEDDER__DIMENSIONS": "1024", "AEGIS_INGESTION__SAMPLES": "no"}
        seen: list[Moment] = []
        async with running_server(Path(folder) / "var", settings, wrapped=wrapped) as server:
            await fill(server, chunks)
            watching = asyncio.create_task(watched(server, seen))
            drawing = asyncio.create_task(asyncio.to_thread(_flame, server.pid, flame)) if flame else None
            await measured(server.url, minutes * 60, rate)
            watching.cancel()
            drawn = await drawing if drawing else ""
        sites = _sites(record) if heap else []
    line = slope(seen)
    return {
        "minutes": minutes,
        "rate": rate,
        "chunks": chunks,
        "moments": [asdict(one) for one in seen],
        "most_mb": round(max(one.total for one in seen), 1),
        "last_mb": {**seen[-1].pss_mb, "sum": round(seen[-1].total, 1)},
        "threads": seen[-1].threads,
        "descriptors": seen[-1].descriptors,
        "slope": line,
        "verdict": verdict(line, minutes),
        "heap": sites,
        "flame": drawn,
    }


def _flame(pid: int, file: Path) -> str:
    """What came of it: py-spy needs the right to trace another process."""
    command = [str(Path(sys.executable).with_name("py-spy")), "record", "-d", "20", "-p", str(pid), "-o", str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    return str(file) if done.returncode == 0 else f"py-spy could not attach: {done.stderr.strip()[-300:]}"


def _sites(record: Path) -> list[dict[str, Any]]:
    """The lines of Python whose allocations stood at the peak, most first."""
    from memray import FileReader

    found: Counter[str] = Counter()
    for one in FileReader(str(record)).get_high_watermark_allocation_records(merge_threads=True):
        frames = one.stack_trace(max_stacks=1)
        found[f"{frames[0][1]}:{frames[0][2]} {frames[0][0]}" if frames else "outside Python"] += one.size
    return [{"site": site, "mb": round(size / 1e6, 1)} for site, size in found.most_common(SITES)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory under load, and whether it leaks.")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--rate", type=float, default=50, help="requests a second")
    parser.add_argument("--chunks", type=int, default=10_000)
    parser.add_argument("--heap", action="store_true", help="memray's peak by allocation site; slows the server down")
    parser.add_argument("--flame", type=Path, help="file for py-spy's flame graph")
    parser.add_argument("--json", type=Path, help="file for everything measured")
    given = parser.parse_args()
    found = asyncio.run(profiled(given.chunks, given.minutes, given.rate, heap=given.heap, flame=given.flame))
    if given.json:
        given.json.write_text(json.dumps(found), encoding="utf-8")
    print(json.dumps({key: value for key, value in found.items() if key != "moments"}, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
