"""`aegis forget`."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
import typer


def forget(
    documents: Annotated[list[str] | None, typer.Argument(help="Ids of documents, as `documents` shows.")] = None,
    conversation: Annotated[list[str] | None, typer.Option(help="Id of a conversation; may be repeated.")] = None,
    erase: Annotated[bool, typer.Option("--erase", help="Off the disk, too: rewrites store and index.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Take out documents and conversations with what was drawn from them, and print a receipt for each store."""
    from aegis.cli.client import call, run
    from aegis.cli.output import print_json, print_table

    body = {"documents": documents or [], "conversations": conversation or [], "erase": erase}

    async def work(client: httpx.AsyncClient) -> Any:
        return await call(client, "POST", "/api/v1/forget", json=body)

    found = run("forget", work)
    if as_json:
        print_json(found)
        return
    gone = [(one["document_id"], one["stores"]) for one in found["documents"]]
    gone += [(one["conversation_id"], one["stores"]) for one in found["conversations"]]
    print_table(("id", "store", "is"), [(name, *row) for name, stores in gone for row in stores.items()])
