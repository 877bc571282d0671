"""The event loop's lag and the longest of the last minutes."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from prometheus_client import REGISTRY, Gauge

from aegis import telemetry
from aegis.errors import Unavailable


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_longest_is_kept_for_one_to_two_minutes() -> None:
    clock = Clock()
    gauge = Gauge("test_longest_seconds", "Test", registry=None)
    longest = telemetry.Longest(gauge, clock)
    longest.observe(0.2)
    clock.now += 50
    longest.observe(0.1)
    clock.now += 15
    assert longest.seconds() == 0.2
    longest.observe(0.3)
    clock.now += 65
    assert longest.seconds() == 0.3
    clock.now += 60
    assert longest.seconds() == 0.0
    assert next(iter(gauge.collect())).samples[0].value == 0.0


async def test_a_stalled_loop_is_seen() -> None:
    watching = asyncio.create_task(telemetry.watch_loop())
    await asyncio.sleep(0.05)
    time.sleep(0.3)  # noqa: ASYNC251 - this is the stall
    await asyncio.sleep(0.05)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    assert telemetry.LONGEST_LAG.seconds() > 0.25


def test_a_call_to_a_backend_is_timed_and_its_failure_counted() -> None:
    with telemetry.timed("a-test", "ask"):
        time.sleep(0.01)
    with pytest.raises(Unavailable), telemetry.timed("a-test", "ask"):
        raise Unavailable("away")
    labels = {"backend": "a-test", "call": "ask"}
    assert REGISTRY.get_sample_value("aegis_backend_seconds_count", labels) == 2
    assert (REGISTRY.get_sample_value("aegis_backend_seconds_sum", labels) or 0) >= 0.01
    assert REGISTRY.get_sample_value("aegis_backend_failures_total", {"backend": "a-test"}) == 1
