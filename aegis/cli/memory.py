"""`aegis memory`."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
import typer

app = typer.Typer(no_args_is_help=True)


@app.command()
def search(
    query: str,
    known_at: Annotated[int | None, typer.Option(help="As known at this epoch.")] = None,
    as_of: Annotated[str | None, typer.Option(help="True at this date (ISO 8601).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Facts about the things that QUERY names, with the sentence that states each."""
    from aegis.cli.client import call, run
    from aegis.cli.output import print_json, print_table

    given = {"query": query, "known_at": known_at, "as_of": as_of}
    body = {key: value for key, value in given.items() if value is not None}

    async def work(client: httpx.AsyncClient) -> Any:
        return await call(client, "POST", "/api/v1/memory/search", json=body)

    found = run("memory search", work)
    if as_json:
        print_json(found)
        return
    rows = ((fact["source"], fact["relation"], fact["target"], fact["text"]) for fact in found["facts"])
    print_table(("entity", "relation", "entity", "stated as"), rows)
