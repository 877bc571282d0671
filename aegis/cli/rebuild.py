"""`aegis rebuild`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import httpx
import typer


def rebuild(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    from rich.progress import Progress

    from aegis.cli.client import call, run
    from aegis.cli.output import errors, print_json

    async def work(client: httpx.AsyncClient) -> Any:
        state = await call(client, "POST", "/api/v1/admin/rebuild")
        with Progress(console=errors, disable=as_json) as progress:
            bar = progress.add_task("Rebuilding", total=state["total"] or None)
            while state["running"]:
                await asyncio.sleep(0.2)
                state = await call(client, "GET", "/api/v1/admin/rebuild")
                progress.update(bar, completed=state["done"], total=state["total"] or None)
        return state

    state = run("rebuild", work)
    if as_json:
        print_json(state)
    else:
        print(f"Rebuilt: {state['total']} chunks.")
