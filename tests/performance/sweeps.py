"""The bottlenecks of the original report, each over a range of the setting that it depended on.

    python -m tests.performance.sweeps [--into FOLDER] [--seconds 8]

Model servers (1 to 3), connections to a real PostgreSQL (5 to 50), the memory of a real Redis with and without
compression, and the answer cache's size under questions that come again as Zipf has it. `sweeps.json` goes into the
folder; the report draws it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import redis
from pydantic import SecretStr
from rich.console import Console
from sqlalchemy import select, text

from aegis.database import Database, open_database
from aegis.errors import NotFound
from aegis.settings import PostgresSettings
from evals.bench import cache, memory_tiers
from evals.bench.inference import chats_per_second
from memory.conversations.hot_redis import encoded
from tests.servers import ServerMissing
from tests.servers.postgres import running_postgres
from tests.servers.redis import running_redis

SERVERS = (1, 2, 3)
CONNECTIONS = (5, 10, 20, 50)
CALLERS = 50  # that read at the same time
READ_SECONDS = 0.004  # which a statement takes in the database
LIMITS = (100, 300, 1000, 10_000)  # cached answers
REQUESTS = 3000
REDIS_MB = 8

console = Console(stderr=True)


async def swept(seconds: float) -> dict[str, Any]:
    """Rows by sweep; under `missing`, why one could not be made here."""
    missing: list[str] = []
    found: dict[str, Any] = {"missing": missing}
    for name, sweep in {"models": _models, "connections": _connections, "redis": _redis, "cache": _cache}.items():
        console.print(f"Sweep: {name} ...")
        try:
            found[name] = await sweep(seconds)
        except (NotFound, ServerMissing) as error:
            found[name] = []
            missing.append(f"The sweep over {name}: {error}")
        console.print(found[name] or missing[-1])
    return found


async def _models(seconds: float) -> list[dict[str, float]]:
    return [{"servers": count, "chats_per_second": await chats_per_second(count, seconds)} for count in SERVERS]


async def _connections(seconds: float) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = []
    with running_postgres() as url:
        for size in CONNECTIONS:
            settings = PostgresSettings(url=SecretStr(url), pool_size=size)
            async with open_database(settings, Path()) as database:
                rows.append({"connections": size, **await _reads(database, seconds)})
    return rows


async def _reads(database: Database, seconds: float) -> dict[str, float]:
    """Reads a second, and how long each waited for its connection."""
    waits: list[float] = []
    end = time.monotonic() + seconds

    async def caller() -> None:
        while time.monotonic() < end:
            began = time.perf_counter()
            async with database.read() as connection:
                waits.append(time.perf_counter() - began)
                await connection.execute(select(text(f"pg_sleep({READ_SECONDS})")))

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    p50, p95 = np.percentile(waits, (50, 95)) * 1000
    per_second = len(waits) / seconds
    return {
        "reads_per_second": round(per_second, 1),
        "wait_p50_ms": round(float(p50), 2),
        "wait_p95_ms": round(float(p95), 2),
    }


async def _redis(_: float) -> list[dict[str, Any]]:
    return await asyncio.to_thread(_kept)


def _kept() -> list[dict[str, Any]]:
    """How many conversations' last messages a Redis of a few MB keeps before it puts out the oldest."""
    blocks = list(memory_tiers.blocks_of("locomo"))
    forms = {
        "as written": [memory_tiers.uncompressed(block) for block in blocks],
        "compressed": [encoded(block) or b"" for block in blocks],
    }
    rows: list[dict[str, Any]] = []
    for form, values in forms.items():
        with running_redis() as url, redis.Redis.from_url(url) as client:
            client.config_set("maxmemory", f"{REDIS_MB}mb")
            client.config_set("maxmemory-policy", "volatile-lru")
            empty = client.info("memory")["used_memory"]
            for number in range(len(values) * (1 + 20_000 // len(values))):
                client.set(f"aegis:hot:{number}", values[number % len(values)], ex=3600)
            info, kept = client.info(), client.dbsize()
            messages = kept * memory_tiers.MESSAGES
            each = (info["used_memory"] - empty) / messages
            rows.append({"form": form, "conversations": kept, "bytes_per_message": round(each, 1)})
            rows[-1]["evicted"] = info["evicted_keys"]
    return rows


async def _cache(_: float) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for limit in LIMITS:
        found = await cache.load(REQUESTS, AEGIS_ANSWER_CACHE__LIMIT=str(limit))
        row: Mapping[str, Any] = {
            "limit": limit,
            **{key: found[key] for key in ("hit_rate", "saved_seconds", "seconds")},
        }
        rows.append(dict(row))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Sweeps over what the original report found to be bottlenecks.")
    parser.add_argument("--into", type=Path, default=Path("results/load"))
    parser.add_argument("--seconds", type=float, default=8.0)
    given = parser.parse_args()
    given.into.mkdir(parents=True, exist_ok=True)
    found = asyncio.run(swept(given.seconds))
    (given.into / "sweeps.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
