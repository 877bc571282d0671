"""`aegis search`."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
import typer


def search(
    query: str,
    mode: Annotated[str, typer.Option(help="hybrid, vector, keyword or graph.")] = "hybrid",
    top_k: Annotated[int, typer.Option(help="How many hits.")] = 10,
    collection: Annotated[str | None, typer.Option(help="Only this collection.")] = None,
    known_at: Annotated[int | None, typer.Option(help="As known at this epoch.")] = None,
    as_of: Annotated[str | None, typer.Option(help="True at this date (ISO 8601).")] = None,
    fusion: Annotated[str | None, typer.Option(help="convex, rrf or dbsf; without: as the server is set.")] = None,
    rerank: Annotated[bool, typer.Option("--rerank", help="Look closer at all candidates.")] = False,
    collapse: Annotated[bool, typer.Option("--collapse", help="Fold near-duplicates into one hit.")] = False,
    diversity: Annotated[float, typer.Option(help="0 to 1: prefer hits unlike those before them.")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from aegis.cli.client import call, run
    from aegis.cli.output import console, line, print_json

    body: dict[str, Any] = {"query": query, "mode": mode, "top_k": top_k, "rerank": rerank}
    body |= {"collapse": collapse, "diversity": diversity}
    if fusion:
        body["fusion"] = fusion
    if collection:
        body["filters"] = {"collection": collection}
    if known_at is not None:
        body["known_at"] = known_at
    if as_of:
        body["as_of"] = as_of

    async def work(client: httpx.AsyncClient) -> Any:
        return await call(client, "POST", "/api/v1/retrieval/search", json=body)

    found = run("search", work)
    if as_json:
        print_json(found)
        return
    for rank, hit in enumerate(found["hits"], 1):
        where = f"{line(hit['source'])} [{hit['start']}:{hit['end']}]"
        console.print(f"{rank}. {line(hit['title'])}  {hit['score']:.3f}", markup=False, style="bold")
        console.print(f"   {where}", markup=False, style="dim")
        console.print(f"   {line(' '.join(hit['text'].split()))[:300]}", markup=False)
    if not found["hits"]:
        console.print("Nothing was found.")
