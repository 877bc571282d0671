"""Locust, as an open model: requests leave when they are due, and latency counts from then on.

    AEGIS_LOAD_SCENARIO=peak locust -f tests/performance/locustfile.py --headless --host http://127.0.0.1:8000

One user sends everything: a user who waits for an answer before asking again would let a stalled server hide.
AEGIS_LOAD_SCENARIO: sustained, ramp, peak, wider or overload. AEGIS_LOAD_SHORT=yes: a minute each.
AEGIS_LOAD_CAPACITY: requests a second that `overload` doubles. AEGIS_LOAD_SAMPLES: a file that receives each request
as a line (name, seconds from the start, milliseconds, status), beside Locust's own rounded figures.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, TextIO

import gevent
from gevent.pool import Group
from locust import FastHttpUser, task

from tests.performance.scenarios import Request, Scenario, requests, scenarios

DEADLINE = 30.0  # seconds an answer may take before it counts as failed
CONNECTIONS = 512
PATIENCE = 5.0  # seconds past a deadline before what still hangs is left


def chosen() -> Scenario:
    capacity = os.environ.get("AEGIS_LOAD_CAPACITY")
    known = scenarios(short=os.environ.get("AEGIS_LOAD_SHORT") == "yes", capacity=float(capacity) if capacity else None)
    name = os.environ.get("AEGIS_LOAD_SCENARIO", "sustained")
    if name not in known:
        raise SystemExit(f"AEGIS_LOAD_SCENARIO is {name!r}; known are: {', '.join(known)}.")
    return known[name]


class Arrivals(FastHttpUser):
    fixed_count = 1
    concurrency = CONNECTIONS
    connection_timeout = DEADLINE
    network_timeout = DEADLINE

    @task
    def arrive(self) -> None:
        scenario, under_way = chosen(), Group()
        with _samples() as samples:
            asked = requests(scenario.mix)
            began = time.perf_counter()
            for at in scenario.due():
                due = began + at
                gevent.sleep(max(0.0, due - time.perf_counter()))
                under_way.spawn(self._send, next(asked), due, at, samples)
            under_way.join(DEADLINE + PATIENCE)
        self.environment.runner.quit()

    def _send(self, request: Request, due: float, at: float, samples: TextIO) -> None:
        method = "GET" if request.body is None else "POST"
        with self.client.request(
            method, request.path, name=request.name, json=request.body, catch_response=True
        ) as response:
            took = (time.perf_counter() - due) * 1000
            response.request_meta["response_time"] = took
            samples.write(f"{request.name}\t{at:.3f}\t{took:.3f}\t{response.status_code}\n")


def _samples() -> Any:
    return Path(os.environ.get("AEGIS_LOAD_SAMPLES", os.devnull)).open("w", encoding="utf-8")
