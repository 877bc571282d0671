"""The memory's part of the HTTP interface, as commands call it."""

from __future__ import annotations

from typing import Any

import httpx


def asked(command: str, method: str, path: str, **given: Any) -> Any:
    from aegis.cli.client import call, run

    async def work(client: httpx.AsyncClient) -> Any:
        return await call(client, method, f"/api/v1/memory{path}", **given)

    return run(command, work)
