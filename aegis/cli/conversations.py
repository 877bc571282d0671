"""`aegis conversations`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

app = typer.Typer(no_args_is_help=True)

PATH = "/api/v1/conversations"
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Newest first."""
    from aegis.cli.client import call, run
    from aegis.cli.output import line, print_json

    async def work(client: httpx.AsyncClient) -> list[Any]:
        found: list[Any] = []
        cursor: str | None = ""
        while cursor is not None and len(found) < limit:
            query = {"limit": min(100, limit - len(found)), "cursor": cursor}
            page = await call(client, "GET", PATH, params=query)
            found, cursor = found + page["conversations"], page["next"]
        return found

    found = run("conversations list", work)
    if as_json:
        print_json({"conversations": found})
        return
    for one in found:  # no table: ids are copied from here, so they are never cut short
        print(f"{one['id']}  {one['updated_at'][:16]}  {line(one['title'])}")


@app.command()
def show(conversation_id: str, as_json: AsJson = False) -> None:
    """What was asked and answered."""
    from aegis.cli.output import console, line, lines, print_json

    found = _asked("conversations show", "GET", f"/{conversation_id}", params={"limit": 500})
    if as_json:
        print_json(found)
        return
    console.print(line(found["title"]), style="bold", markup=False)
    for turn in found["turns"]:
        console.print(f"\n> {line(turn['question'])}", style="bold", markup=False)
        console.print(lines(turn["answer"]) or f"({turn['state']})", markup=False)


@app.command()
def rename(conversation_id: str, title: str, as_json: AsJson = False) -> None:
    """Give it another title."""
    from aegis.cli.output import line, print_json

    found = _asked("conversations rename", "PATCH", f"/{conversation_id}", json={"title": title})
    if as_json:
        print_json(found)
    else:
        print(line(found["title"]))


@app.command()
def private(
    conversation_id: str,
    off: Annotated[bool, typer.Option("--off", help="Let its questions go to cloud models instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Nothing of it leaves this machine, whatever the settings allow and whoever agrees to one question."""
    from aegis.cli.output import print_json

    _asked("conversations private", "PUT" if off else "DELETE", f"/{conversation_id}/shareable")
    found = _asked("conversations private", "GET", f"/{conversation_id}/shareable")
    if as_json:
        print_json(found)
    elif found["rests_on_private"]:
        print("It stays on this machine: an answer in it was made from a private document.")
    else:
        print("Shared with cloud models that are allowed." if found["shareable"] else "It stays on this machine.")


@app.command()
def search(
    query: str,
    limit: Annotated[int, typer.Option(help="How many turns.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Find turns of all conversations, by words and by meaning."""
    from aegis.cli.output import line, print_json

    found = _asked("conversations search", "GET", "/search", params={"query": query, "limit": limit})
    if as_json:
        print_json(found)
        return
    for hit in found["hits"]:
        print(f"{hit['conversation_id']}  {line(hit['title'])}")
        print(f"  > {line(hit['question'])[:200]}\n    {line(hit['answer'])[:200]}")


@app.command()
def export(
    conversation_id: Annotated[str | None, typer.Argument(help="One conversation; all without.")] = None,
    form: Annotated[str, typer.Option("--format", help="jsonl (can be imported) or markdown.")] = "jsonl",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Else standard output.")] = None,
) -> None:
    """Write conversations as JSON lines or Markdown."""
    from aegis.cli.client import run, saved

    place = f"/{conversation_id}/export" if conversation_id else "/export"

    async def work(client: httpx.AsyncClient) -> None:
        await saved(client, PATH + place, output, params={"format": form})

    run("conversations export", work)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="JSON lines that an export has written.")],
    as_json: AsJson = False,
) -> None:
    """Take exported conversations in; those that are here already stay as they are."""
    from aegis.cli.output import print_json

    headers = {"Content-Type": "application/x-ndjson"}
    found = _asked("conversations import", "POST", "/import", content=file.read_bytes(), headers=headers)
    if as_json:
        print_json(found)
    else:
        print(f"{found['conversations']} conversations, {found['turns']} turns taken in; {found['known']} were here.")


@app.command()
def delete(
    conversation_id: str,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Erase it with everything drawn from it; prints what went."""
    from aegis.cli.output import print_json

    if not yes:
        typer.confirm(f"Erase conversation {conversation_id} for good?", abort=True)
    receipt = _asked("conversations delete", "DELETE", f"/{conversation_id}")
    if as_json:
        print_json(receipt)
        return
    further = "".join(f", {count} {name}" for name, count in receipt["further"].items())
    print(f"Erased: {receipt['turns']} turns, {receipt['archives']} archive files{further}.")


def _asked(command: str, method: str, place: str, **arguments: Any) -> Any:
    from aegis.cli.client import call, run

    async def work(client: httpx.AsyncClient) -> Any:
        return await call(client, method, PATH + place, **arguments)

    return run(command, work)
