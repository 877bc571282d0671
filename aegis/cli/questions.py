"""`aegis questions`."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
import typer


def questions(
    state: Annotated[str | None, typer.Option(help="Only these: open or answered.")] = None,
    close: Annotated[str | None, typer.Option(help="Id of a question to wait for no longer.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from aegis.cli.client import call, run
    from aegis.cli.output import print_json, print_table

    async def work(client: httpx.AsyncClient) -> Any:
        if close:
            await call(client, "DELETE", f"/api/v1/questions/{close}")
        query = {"limit": 500, **({"state": state} if state else {})}
        return await call(client, "GET", "/api/v1/questions", params=query)

    found = run("questions", work)
    if as_json:
        print_json(found)
        return
    rows = (
        (one["id"], one["state"], one["question"], ", ".join(piece["title"] for piece in one["evidence"]))
        for one in found["questions"]
    )
    print_table(("id", "state", "question", "answered by"), rows)
