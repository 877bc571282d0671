"""What starting a server costs. Times are benchmarks' business; here is what must not creep back into the start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from evals.bench.server import ROOT
from tests.system.application import Site

# Imported where they are used, if ever: engines of the server profile, Graphiti, and what Chainlit would bring along.
LATER = ("neo4j", "asyncpg", "redis", "graphiti_core", "openai", "qdrant_client", "grpc", "alembic", "pypdfium2")
NEVER = ("traceloop", "mcp", "posthog", "torch", "transformers", "pandas")

SCRIPT = """
import asyncio, sys
from aegis.settings import Settings
from api.app import opened
from ui.served import create_served_app
async def main():
    settings = Settings()
    app = create_served_app(settings)
    async with opened(app, settings):
        await app.state.services.prepared()
        print(*sorted({name.split(".")[0] for name in sys.modules}))
asyncio.run(main())
"""


def imported(site: Site) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=site.environment(), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_starting_imports_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    site = Site(tmp_path / "var")
    imported(site)  # the first start makes the tables
    found = imported(site)
    assert found & {*LATER, *NEVER} == set()
    assert "chainlit" in found


def test_a_server_starts_and_answers_both_page_and_readiness(tmp_path: Path) -> None:
    with Site(tmp_path / "var").running() as client:
        assert client.get("/health/ready").status_code == 200
        assert client.get("/chat").status_code == 200


def test_a_server_that_is_told_to_stop_closes_what_it_has_open(tmp_path: Path) -> None:
    """As systemd and Docker tell it. The next start believes an index that was closed, and need not look through it."""
    site = Site(tmp_path / "var")
    site.start()
    assert site.stop() == 0
    assert len(list((tmp_path / "var").rglob("clean.json"))) == 2
