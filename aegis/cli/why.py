"""`aegis why`."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
import typer

MARKS = {True: "yes", False: "no", None: "-"}


def why(
    question: str,
    document: Annotated[str, typer.Option(help="Its id, as `aegis documents` lists it.")],
    top_k: Annotated[int | None, typer.Option(help="How many hits are taken.")] = None,
    mode: Annotated[str, typer.Option(help="hybrid or graph.")] = "hybrid",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from aegis.cli.client import call, run
    from aegis.cli.output import print_json, print_table

    body: dict[str, Any] = {"query": question, "document_id": document, "mode": mode, "top_k": top_k}

    async def work(client: httpx.AsyncClient) -> Any:
        return await call(client, "POST", "/api/v1/retrieval/why", json=body)

    found = run("why", work)
    if as_json:
        print_json(found)
        return
    rows = (
        (stage["name"], MARKS[stage["passed"]], _shown(stage["rank"]), _shown(stage["score"]), stage["says"])
        for stage in found["stages"]
    )
    print_table(("stage", "passed", "rank", "score", "what is known"), rows)
    print(f"Lost at: {found['lost_at']}." if found["lost_at"] else "It reaches the evidence.")


def _shown(value: Any) -> str:
    return "" if value is None else str(value)
