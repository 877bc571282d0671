"""`aegis documents`."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
import typer


def documents(
    limit: Annotated[int, typer.Option(help="How many at most.")] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from aegis.cli.client import call, run
    from aegis.cli.output import print_json, print_table

    async def work(client: httpx.AsyncClient) -> list[Any]:
        found: list[Any] = []
        cursor: str | None = None
        while len(found) < limit:
            query = {"limit": min(100, limit - len(found)), **({"cursor": cursor} if cursor else {})}
            page = await call(client, "GET", "/api/v1/documents", params=query)
            found += page["documents"]
            cursor = page.get("next")
            if not cursor:
                break
        return found

    found = run("documents", work)
    if as_json:
        print_json({"documents": found})
        return
    rows = (
        (entry["id"], entry["title"], entry["collection"], entry["chunks"], entry["indexed_at"][:16], _note(entry))
        for entry in found
    )
    print_table(("id", "title", "collection", "chunks", "last indexed", "source"), rows)


def _note(entry: dict[str, Any]) -> str:
    told = [*(["private"] if entry["private"] else []), *filter(None, [entry["verdict"].get("warning")])]
    return f"{entry['source']} ({', '.join(told)})" if told else entry["source"]


def private(
    documents: Annotated[list[str], typer.Argument(help="Ids of documents, as `documents` shows.")],
    off: Annotated[bool, typer.Option("--off", help="Take the mark away.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Mark documents as private. A conversation in which an answer was made from one does not leave either."""
    from aegis.cli.client import call, run
    from aegis.cli.output import print_json, print_table

    async def work(client: httpx.AsyncClient) -> list[Any]:
        body = {"private": not off}
        return [await call(client, "PATCH", f"/api/v1/documents/{each}", json=body) for each in documents]

    found = run("private", work)
    if as_json:
        print_json({"documents": found})
        return
    rows = ((one["id"], one["title"], "private" if one["private"] else "as its collection") for one in found)
    print_table(("id", "title", "is"), rows)
