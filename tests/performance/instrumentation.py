"""What the metrics cost: the same requests with and without them, in turns, in one process.

    python -m tests.performance.instrumentation [--questions 150]

Looking up a metric's labels is in both. Processor time, so that a busy machine matters little; the ratio is paired by
question (evals/bench/comparison.py).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.metrics import Counter, Gauge, Histogram

from aegis.settings import Settings
from api.app import create_app, opened
from evals.bench.comparison import ratio
from tests.performance.inside import ingested, within

RECORDING = ((Counter, "inc"), (Gauge, "set"), (Gauge, "inc"), (Gauge, "dec"), (Histogram, "observe"))
KINDS = {"search": "/api/v1/retrieval/search", "chat": "/api/v1/chat"}


@contextmanager
def without_metrics() -> Generator[None]:
    kept = [(owner, name, getattr(owner, name)) for owner, name in RECORDING]
    for owner, name, _ in kept:
        setattr(owner, name, _nothing)
    try:
        yield
    finally:
        for owner, name, was in kept:
            setattr(owner, name, was)


def _nothing(*_: Any, **__: Any) -> None:
    return None


async def measured(questions: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        given: dict[str, Any] = {"data_dir": Path(folder) / "var", "ollama": {"url": "http://127.0.0.1:9"}}
        app = create_app()
        async with opened(app, Settings(_env_file=None, **given)), within(app) as client:  # pyright: ignore[reportCallIssue]
            await ingested(client)
            return {kind: await _compared(client, kind, questions) for kind in KINDS}


async def _compared(client: httpx.AsyncClient, kind: str, questions: int) -> dict[str, float]:
    chance = random.Random(5)
    asked = [f"What does part {number} say about the {word}?" for number in range(10) for word in WORDS][:questions]
    took: dict[bool, list[float]] = {True: [], False: []}
    for question in (*asked[:10], *asked):
        for metrics in chance.sample((True, False), 2):
            took[metrics].append(await _asked(client, kind, question, metrics=metrics))
    with_, without = (times[10:] for times in (took[True], took[False]))
    return ratio(with_, without) | {"cpu_ms": round(1000 * sum(with_) / len(with_), 2)}


async def _asked(client: httpx.AsyncClient, kind: str, question: str, *, metrics: bool) -> float:
    body = {"query": question} if kind == "search" else {"question": question, "fresh": True}
    if metrics:
        return await _timed(client, KINDS[kind], body)
    with without_metrics():
        return await _timed(client, KINDS[kind], body)


async def _timed(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> float:
    began = time.process_time()
    answer = await client.post(path, json=body)
    answer.raise_for_status()
    return time.process_time() - began


WORDS = ("outbox", "index", "epoch", "graph", "cache", "model", "backup", "folder", "turn", "budget", "route", "chunk",
         "scope", "job", "fact")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=150)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    found = asyncio.run(measured(parser.parse_args().questions))
    print(json.dumps(found, indent=2))  # noqa: T201 - figures


if __name__ == "__main__":
    main()
