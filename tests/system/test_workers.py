"""Two `aegis worker` processes on a real PostgreSQL and Redis, one of them killed with a file in hand."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from evals.bench.server import ROOT
from tests.servers.fixtures import fresh_postgres_database
from tests.system.application import Site, finished, submit

pytestmark = pytest.mark.servers

FILES = 40
WORDS = " ".join(f"word{n}" for n in range(60))


@dataclass
class Crew:
    """A server that reads nothing itself, on stores that workers share, and the workers."""

    site: Site
    address: str

    @contextmanager
    def worker(self, name: str) -> Generator[subprocess.Popen[bytes]]:
        log = self.site.folder.with_name(f"{name}.log")
        environment = {
            **self.site.environment(),
            "AEGIS_DATA_DIR": str(self.site.folder.with_name(name)),  # as on another machine
            "AEGIS_INGESTION__WORKERS": "1",
        }
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "aegis.cli", "worker"], env=environment, cwd=ROOT, stdout=out, stderr=out
            )
        try:
            until = time.monotonic() + 60
            while b"A worker is ready" not in log.read_bytes():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.05)
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            code = process.wait(30)
            assert code in (0, -signal.SIGKILL), log.read_text()

    async def rows(self, query: str, *given: Any) -> list[Any]:
        import asyncpg

        server: Any = await asyncpg.connect(self.address)
        try:
            return [row[0] for row in await server.fetch(query, *given)]
        finally:
            await server.close()

    async def in_hand(self, process: subprocess.Popen[bytes]) -> list[int]:
        """Ordinals of the files that this worker has claimed."""
        query = "SELECT ordinal FROM job_files WHERE state = 'running' AND worker LIKE $1"
        return await self.rows(query, f"%-{process.pid}-%")


@pytest.fixture
async def crew(postgres_url: str, redis_url: str, tmp_path: Path) -> AsyncGenerator[Crew]:
    async with fresh_postgres_database(postgres_url) as address:
        settings = {
            "AEGIS_DATABASE__KIND": "postgres",
            "AEGIS_DATABASE__URL": address,
            "AEGIS_CACHE__KIND": "redis",
            "AEGIS_CACHE__URL": redis_url,
            "AEGIS_CACHE__PREFIX": f"{tmp_path.name}:",
            "AEGIS_BLOBS__URL": str(tmp_path / "originals"),
            "AEGIS_INGESTION__WORKERS": "0",
        }
        site = Site(tmp_path / "var", settings)
        try:
            yield Crew(site, address)
        finally:
            site.stop()


def text(number: int) -> str:
    return f"# Note {number}\n\nNote {number} stands on shelf {number * 7}.\n\n{WORDS}"


async def killed_with_a_file_in_hand(crew: Crew, process: subprocess.Popen[bytes]) -> list[int]:
    """What it had in hand: it is stopped first, so that nothing changes between the look and the kill."""
    until = time.monotonic() + 60
    while True:
        assert time.monotonic() < until, "the worker never had a file in hand"
        process.send_signal(signal.SIGSTOP)
        if held := await crew.in_hand(process):
            process.kill()
            process.wait()
            return held
        process.send_signal(signal.SIGCONT)
        await asyncio.sleep(0.02)


def stored(client: httpx.Client) -> dict[str, str]:
    listed = client.get("/api/v1/documents", params={"limit": 100}).json()["documents"]
    return {one["source"]: client.get(f"/api/v1/documents/{one['id']}/text").json()["text"].strip() for one in listed}


async def test_killed_worker_is_replaced_and_nothing_is_lost_or_doubled(crew: Crew, tmp_path: Path) -> None:
    files = {tmp_path / f"{n}.txt": text(n).encode() for n in range(FILES)}
    with crew.site.running() as client, crew.worker("one") as one, crew.worker("two"):
        job_id = submit(client, files)
        held = await killed_with_a_file_in_hand(crew, one)
        done = finished(client, job_id, 120)
        assert (done["state"], done["done"], done["failures"]) == ("done", FILES, [])
        assert stored(client) == {file.as_uri(): data.decode() for file, data in files.items()}
        hits = client.post("/api/v1/retrieval/search", json={"query": "On which shelf does Note 31 stand?"}).json()
        assert "shelf 217" in hits["hits"][0]["text"]

        again = await crew.rows("SELECT ordinal FROM job_files WHERE attempts = 2 ORDER BY ordinal")
        assert again == sorted(held)  # those, and no others, were begun again
        assert await crew.rows("SELECT ordinal FROM job_files WHERE attempts > 2 OR worker IS NOT NULL") == []
        assert await crew.rows("SELECT count(*) FROM versions") == [FILES]
        (made,) = await crew.rows("SELECT count(*) FROM chunks")
        assert await crew.rows("SELECT sum(chunk_count) FROM versions") == [made] == [done["chunks"]]

    with redis.Redis.from_url(crew.site.settings["AEGIS_CACHE__URL"]) as server:
        (group,) = server.xinfo_groups(f"{tmp_path.name}:ingestion")  # type: ignore[misc]  # redis types both kinds
        assert group["entries-read"] == 1  # the job's id went through the stream
