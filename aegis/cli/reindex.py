"""`aegis reindex`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import httpx
import typer


def reindex(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    from rich.progress import Progress

    from aegis.cli.client import call, run
    from aegis.cli.output import errors, print_json
    from aegis.errors import Unavailable

    async def work(client: httpx.AsyncClient) -> Any:
        state = await call(client, "POST", "/api/v1/admin/reindex")
        with Progress(console=errors, disable=as_json) as progress:
            bar = progress.add_task(f"Embedding with {state['embedder']}", total=state["total"] or None)
            while state["running"]:
                await asyncio.sleep(0.2)
                state = await call(client, "GET", "/api/v1/admin/reindex")
                progress.update(bar, completed=state["done"], total=state["total"] or None)
        if state["waits"]:
            raise Unavailable(f"{state['waits']} What was embedded is kept: run `aegis reindex` again.")
        return state

    state = run("reindex", work)
    if as_json:
        print_json(state)
    else:
        print(f"Searches go through the index of {state['embedder']} now.")
