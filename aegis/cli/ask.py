"""`aegis ask`."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
import typer


def ask(
    question: str,
    conversation: Annotated[str | None, typer.Option(help="Go on with this conversation.")] = None,
    mode: Annotated[str, typer.Option(help="hybrid, vector, keyword or graph.")] = "hybrid",
    fresh: Annotated[bool, typer.Option("--fresh", help="Answer anew, not from the answer cache.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from aegis.cli.client import call, run
    from aegis.cli.output import console, line, lines, print_json

    body: dict[str, Any] = {"question": question, "mode": mode, "fresh": fresh}
    if conversation:
        body["conversation_id"] = conversation

    async def work(client: httpx.AsyncClient) -> Any:
        return await call(client, "POST", "/api/v1/chat", json=body)

    turn = run("ask", work)
    if as_json:
        print_json(turn)
        return
    console.print(lines(turn["answer"]), markup=False)
    for citation in turn["citations"]:
        source = citation.get("title") or citation["document_id"]
        console.print(f"[{citation['marker']}] {line(source)}: {line(citation['quote'])}", markup=False, style="dim")
    if cached := turn.get("cached"):
        console.print(line(_told(cached)), markup=False, style="dim")


def _told(cached: dict[str, Any]) -> str:
    when = cached["answered_at"][:16].replace("T", " ")
    like = f" to “{cached['question']}”" if cached["near"] else ""
    return f"Answered{like} on {when} UTC, from {', '.join(cached['sources'])}; --fresh asks anew."
