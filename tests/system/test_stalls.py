"""The event loop goes on while documents come in, are published and indexed. Exact figures: `aegis bench stalls`."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from evals.bench import corpus
from evals.bench.stalls import GAUGES, gauges
from tests.system.application import Site

pytestmark = pytest.mark.alone

CHUNKS = 1500
MOST_SECONDS = 0.25  # the aim is 0.05; what a shared machine makes late is not counted


def test_the_loop_goes_on_while_an_index_is_built(tmp_path: Path) -> None:
    site = Site(tmp_path / "var", {"AEGIS_VECTORS__UNINDEXED_LIMIT": "500"})
    busy = write = 0.0
    with site.running() as client:
        documents = list(corpus.documents(CHUNKS))
        job = client.post("/api/v1/retrieval/ingest", json={"documents": documents}).json()["job_id"]
        until = time.monotonic() + 180
        state = ""
        while time.monotonic() < until and (state != "done" or "An index was built" not in site.said()):
            found = client.post("/api/v1/retrieval/search", json={"query": "protein expression"})
            assert found.status_code == 200
            state = client.get(f"/api/v1/retrieval/jobs/{job}").json()["state"]
            read = gauges(client.get("/metrics").text)
            busy = max(busy, read[GAUGES["busy_ms"]])
            write = max(write, read[GAUGES["write_ms"]])
            time.sleep(0.1)
        assert state == "done"
        assert "An index was built" in site.said()
    assert 0 < busy < MOST_SECONDS
    assert write > 0
