"""Prometheus metrics and logging. Label values are bounded: routes by template, nodes and outcomes by name."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime

from prometheus_client import Counter, Gauge, Histogram

from aegis import tracing
from aegis.errors import AegisError

# 1 ms to 60 s, in the field's usual 1-2.5-5 steps.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

REQUESTS = Counter("aegis_requests_total", "HTTP requests", ["method", "route", "status"])
REQUEST_SECONDS = Histogram("aegis_request_seconds", "HTTP latency", ["method", "route"], buckets=SECONDS)
NODE_SECONDS = Histogram("aegis_node_seconds", "Latency of a graph node", ["node"], buckets=SECONDS)
BACKEND_SECONDS = Histogram("aegis_backend_seconds", "Latency of a backend call", ["backend", "call"], buckets=SECONDS)
BACKEND_FAILURES = Counter("aegis_backend_failures_total", "Failed backend calls", ["backend"])
WRITE_SECONDS = Histogram("aegis_database_write_seconds", "Length of a write transaction", buckets=SECONDS)
POOL_WAIT_SECONDS = Histogram("aegis_pool_wait_seconds", "Wait for a connection", ["pool"], buckets=SECONDS)
HITS = Histogram("aegis_retrieval_hits", "Hits per search", ["mode"], buckets=(0, 1, 2, 5, 10, 20, 50, 100))
RUNNING = Gauge("aegis_running_turns", "Questions being answered")
TURNS = Counter("aegis_turns_total", "Turns by route and outcome", ["route", "outcome"])
TOKENS = Counter("aegis_tokens_total", "Tokens by model and direction", ["model", "direction"])
FIRST_TOKEN_SECONDS = Histogram("aegis_first_token_seconds", "Time to first token", ["model"], buckets=SECONDS)
CACHED = Counter("aegis_cached_answers_total", "Looks into the answer cache by outcome", ["outcome"])
MODEL_QUEUE = Gauge("aegis_model_queue", "Answers that wait for a model server")
SPENT = Gauge("aegis_budget_used_ratio", "Share of a provider's budget that is spent", ["provider", "period"])
BUDGET_WARNINGS = Counter("aegis_budget_warnings_total", "Budgets that are nearly spent", ["kind", "period"])
BUDGET_REFUSALS = Counter("aegis_budget_refusals_total", "Calls that a budget refused", ["kind", "period"])
FILES = Counter("aegis_ingested_files_total", "Ingested files by outcome", ["outcome"])
CHUNKS = Counter("aegis_ingested_chunks_total", "Chunks written")
READ_CHUNKS = Counter("aegis_model_read_chunks_total", "Chunks read for facts by a model", ["outcome"])
WAITING = Gauge("aegis_ingestion_waiting_files", "Files of all jobs that are still to be worked on")
BACKEND_UP = Gauge("aegis_backend_up", "1 where a backend answered when metrics were read, else 0", ["backend"])
DISK_FREE = Gauge("aegis_disk_free_ratio", "Share of the data folder's disk that is free")
ADMITTED = Gauge("aegis_admitted_requests", "Requests being worked on", ["kind"])
QUEUED = Gauge("aegis_queued_requests", "Requests waiting for their turn", ["kind"])
SHED = Counter("aegis_shed_requests_total", "Requests refused because there were too many", ["kind"])
BACKLOG = Gauge("aegis_outbox_backlog", "Outbox rows a projection has not applied", ["projection"])
GRAPH_SIZE = Gauge("aegis_graph_size", "Rows of the graph memory", ["kind"])
LOOP_LAG = Histogram("aegis_loop_lag_seconds", "How late the event loop ran", buckets=SECONDS)
TICK = 0.01  # seconds between two looks at the event loop
WINDOW = 60.0  # seconds that `Longest` covers at least


class Longest:
    """The longest duration of the last one to two minutes, read from `gauge`: a histogram's buckets hide it."""

    def __init__(self, gauge: Gauge, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._before = self._now = 0.0
        gauge.set_function(self.seconds)

    def observe(self, seconds: float) -> None:
        self._turn()
        self._now = max(self._now, seconds)

    def forget(self) -> None:
        self._before = self._now = 0.0

    def seconds(self) -> float:
        self._turn()
        return max(self._before, self._now)

    def _turn(self) -> None:
        passed = self._clock() - self._began
        if passed < WINDOW:
            return
        self._before = self._now if passed < 2 * WINDOW else 0.0
        self._now = 0.0
        self._began += passed


LONGEST_LAG = Longest(Gauge("aegis_loop_lag_longest_seconds", "Latest that the event loop ran in the last minutes"))
LONGEST_BUSY = Longest(Gauge("aegis_loop_busy_longest_seconds", "That part of a lag in which this process was at work"))
LONGEST_WRITE = Longest(Gauge("aegis_database_write_longest_seconds", "Longest write of the last minutes"))
LONGEST_WAIT = Longest(Gauge("aegis_database_wait_longest_seconds", "Longest that a short write waited for its turn"))
BUILD = Gauge("aegis_build_info", "Version", ["version"])


async def watch_loop() -> None:
    """For ever: how late each tick comes, which is how long something kept the event loop or the interpreter.

    On a machine that is short of processors a tick is late without our doing; the processor time that this process
    had meanwhile tells the two apart.
    """
    spent = time.process_time()
    while True:
        due, used = time.perf_counter() + TICK, spent
        await asyncio.sleep(TICK)
        late = max(0.0, time.perf_counter() - due)
        LOOP_LAG.observe(late)
        LONGEST_LAG.observe(late)
        spent = time.process_time()
        LONGEST_BUSY.observe(min(late, spent - used))


@contextmanager
def timed(backend: str, call: str) -> Generator[None]:
    """A call to a backend: how long it took, and whether it failed."""
    began = time.perf_counter()
    try:
        with tracing.span(f"{backend} {call}"):
            yield
    except AegisError:
        BACKEND_FAILURES.labels(backend).inc()
        raise
    finally:
        BACKEND_SECONDS.labels(backend, call).observe(time.perf_counter() - began)


def wrote(seconds: float) -> None:
    """A write transaction has ended; from its beginning to its commit."""
    WRITE_SECONDS.observe(seconds)
    LONGEST_WRITE.observe(seconds)


def waited(seconds: float) -> None:
    """A short write transaction, such as a turn's, has got the connection that writes."""
    POOL_WAIT_SECONDS.labels("write").observe(seconds)
    LONGEST_WAIT.observe(seconds)


class JsonLines(logging.Formatter):
    """One JSON object per line, for machines; never holds a request body or a secret."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logging(level: str) -> None:
    """Plain lines on a terminal, JSON lines otherwise. Called by entry points only."""
    handler = logging.StreamHandler(sys.stderr)
    if sys.stderr.isatty():
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S"))
    else:
        handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("httpx", "httpcore", "graphiti_core", "neo4j", "aiosqlite", "chainlit", "watchfiles", "alembic"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))
