"""The arithmetic behind the performance report."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from tests.performance.latency_analysis import analysis
from tests.performance.load import figures
from tests.performance.machine import machine
from tests.performance.memory_profile import Moment, slope, verdict
from tests.performance.prometheus import Seen, between, histograms, samples
from tests.performance.report import written
from tests.performance.scenarios import ORIGINAL, requests, scenarios


def test_a_quantile_is_linear_within_its_bucket() -> None:
    seen = Seen(100, 5.0, ((0.01, 50), (0.1, 90), (float("inf"), 100)))
    assert seen.quantile_ms(0.25) == pytest.approx(5)
    assert seen.quantile_ms(0.7) == pytest.approx(55)
    assert seen.quantile_ms(0.99) == pytest.approx(100)  # beyond the last bound nothing is known
    assert seen.mean_ms == pytest.approx(50)


def test_only_what_happened_between_two_looks_counts() -> None:
    registry = CollectorRegistry()
    seconds = Histogram("aegis_node_seconds", "Nodes", ["node"], buckets=(0.1, 1), registry=registry)
    seconds.labels("route").observe(0.05)
    before = samples(generate_latest(registry).decode())
    seconds.labels("retrieve").observe(0.5)
    after = samples(generate_latest(registry).decode())
    found = histograms(between(before, after), "aegis_node_seconds")
    assert {dict(labels)["node"]: seen.count for labels, seen in found.items()} == {"retrieve": 1}


def test_what_is_not_accounted_for_is_the_request_less_its_nodes() -> None:
    registry = CollectorRegistry()
    nodes = Histogram("aegis_node_seconds", "Nodes", ["node"], registry=registry)
    routes = Histogram("aegis_request_seconds", "Requests", ["method", "route"], registry=registry)
    for node, took in (("route", 0.010), ("retrieve", 0.020), ("consult_graph", 0.030)):
        nodes.labels(node).observe(took)
    routes.labels("POST", "/api/v1/chat").observe(0.050)
    chat = analysis(samples(generate_latest(registry).decode()))["chat"]
    assert chat["not accounted for"] == pytest.approx(50 - 10 - 30)  # side by side: the longer of the two counts


def test_a_rising_line_is_told_from_a_flat_one() -> None:
    noise = np.random.default_rng(1)

    def run(per_hour: float) -> list[Moment]:
        return [
            Moment(float(at), {"server": 300 + per_hour * at / 3600 + float(noise.normal(0, 2))}, 10, 50)
            for at in range(1500)
        ]

    rising, flat = slope(run(60)), slope(run(0))
    assert rising["low"] < 60 < rising["high"]
    assert flat["low"] < 0 < flat["high"]
    assert verdict(rising, 25) == "grows"
    assert verdict(flat, 25) == "does not grow"
    assert "20 minutes" in verdict(flat, 5)


def test_arrivals_follow_their_rate() -> None:
    known = scenarios(short=True, capacity=200)
    assert len(list(known["sustained"].due())) == pytest.approx(50 * 60, abs=1)
    assert len(list(known["ramp"].due())) == pytest.approx(100 * 60 / 2, rel=0.03)
    late = [at for at in known["overload"].due() if at >= 59]
    assert len(late) == pytest.approx(400, rel=0.05)


def test_the_mix_is_the_original_reports() -> None:
    names = [request.name for request in islice(requests(ORIGINAL), 4000)]
    assert names.count("search, hybrid") / 4000 == pytest.approx(0.735, abs=0.03)
    assert names.count("chat") / 4000 == pytest.approx(0.245, abs=0.03)
    assert names == [request.name for request in islice(requests(ORIGINAL), 4000)]


def results(lines: Path) -> dict[str, Any]:
    lines.write_text("chat\t0.5\t12.5\t200\nchat\t6.0\t20.5\t200\nchat\t6.1\t1.5\t503\nsearch, hybrid\t6.2\t3.0\t500\n")
    run = {
        "title": "50 requests/s",
        "seconds": 60.0,
        **figures(lines),
        "memory": [],
        "most_mb": 300.0,
        "inside": {"nodes": {}, "backends": {}, "chat": {"request": 5.0, "route": 1.0, "not accounted for": 4.0}},
    }
    speed = {"p50_ms": 1, "p95_ms": 2, "p99_ms": 3, "per_second": 250}
    return {
        "at": "2026-01-01T10:00:00+00:00",
        "machine": machine(),
        "ingest": {"chunks": 10, "chunks_per_second": 5},
        "profiles": {"extractive": {"sustained": run}},
        "alone": {"calm": speed, "full": speed, "capacity": 250},
        "stores_mb": {"vectors": 1.5},
    }


def test_refusals_are_not_failures(tmp_path: Path) -> None:
    found = results(tmp_path / "lines.tsv")["profiles"]["extractive"]["sustained"]
    assert found["all"] | {"requests": 4, "shed": 1, "failed": 1} == found["all"]
    assert found["by_request"]["chat"]["p50_ms"] == pytest.approx(16.5)
    assert [step["at"] for step in found["timeline"]] == [0, 5]


def test_the_report_says_what_was_measured_and_what_was_not(tmp_path: Path) -> None:
    found = json.loads(json.dumps(results(tmp_path / "lines.tsv")))
    sweeps = {"models": [{"servers": 1, "chats_per_second": 7.5}], "missing": ["The sweep over redis: not installed."]}
    page = written(found, None, sweeps, tmp_path)
    assert "| chat | 3 | 0 | 1 | 16.5 |" in page
    assert "one minute for each scenario" in page
    assert "| servers | chats per second |" in page
    assert "- The sweep over redis: not installed." in page
    for line in page.splitlines():
        if line.startswith("![]("):
            assert (tmp_path / line[4:-1]).stat().st_size > 5000
