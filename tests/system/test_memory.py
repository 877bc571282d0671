"""Memory of an idle server after the sample documents: the aim (400 MB) with room; exact figures: bench footprint."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.system.application import Site

pytestmark = pytest.mark.alone

MOST_MB = 480


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the share of shared memory (PSS)")
def test_an_idle_server_keeps_to_its_share(tmp_path: Path) -> None:
    site = Site(tmp_path / "var", {"AEGIS_INGESTION__SAMPLES": "yes", "AEGIS_INGESTION__WORKER_IDLE": "1"})
    with site.running() as client:
        for _ in range(600):
            job = client.get("/api/v1/retrieval/jobs").json()
            rows = job.get("jobs", job) if isinstance(job, dict) else job
            if rows and all(row["state"] == "done" for row in rows):
                break
            time.sleep(0.2)
        for _ in range(100):
            if not site.children("spawn_main"):
                break
            time.sleep(0.2)
        assert not site.children("spawn_main")  # the reading process has gone
        assert site.process is not None
        server = psutil.Process(site.process.pid)
        shares = {
            " ".join(process.cmdline())[-60:]: process.memory_full_info().pss / 1e6
            for process in (server, *server.children(recursive=True))
        }
    assert sum(shares.values()) < MOST_MB, shares
