"""The whole application in this process, asked without a socket."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx


def within(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8000", timeout=60)


async def ingested(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(120):
        while True:
            jobs = (await client.get("/api/v1/retrieval/jobs")).json()["jobs"]
            ready = (await client.get("/health/ready")).status_code == 200
            if ready and jobs and all(job["state"] == "done" for job in jobs):
                return
            await asyncio.sleep(0.2)
