"""The dashboard, and a server in use for it to show."""

from __future__ import annotations

import json
import time

import httpx

from evals.bench.server import ROOT
from tests.system.application import Site

DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text("utf-8"))


def use(site: Site, seconds: float) -> None:
    """Every kind of request for a while: documents come in, questions come again and new ones are asked."""
    with httpx.Client(base_url=site.url, timeout=30, trust_env=False) as client:
        until, number = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            if number % 40 == 0:
                _ingest(client, number)
            client.post("/api/v1/retrieval/search", json={"query": f"rollback of release {number}"})
            client.post("/api/v1/chat", json={"question": "Who starts a rollback?"})
            if number % 3 == 0:
                client.post("/api/v1/chat", json={"question": f"Who starts the rollback of release {number}?"})
            client.get("/nothing")
            number += 1


def _ingest(client: httpx.Client, number: int) -> None:
    releases = (
        f"# Release {each}\n\nAnna Berg starts the rollback of release {each}." for each in range(number, number + 40)
    )
    documents = [{"source": f"{number}-{place}.md", "text": text} for place, text in enumerate(releases)]
    rollback = {"source": "a.md", "text": "# Rollback\n\nThe release manager starts a rollback within ten minutes."}
    client.post("/api/v1/retrieval/ingest", json={"documents": [rollback, *documents]})
