"""`aegis memory`: search what is remembered, put it right, see what changed it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import httpx
import typer

from aegis.cli.memory_api import asked

app = typer.Typer(no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
HeldId = Annotated[str, typer.Argument(help="As `memory quarantine` shows it.")]
FactId = Annotated[str, typer.Argument(help="Id of a fact, as `memory search --json` shows it.")]


@app.command()
def search(
    query: str,
    known_at: Annotated[str | None, typer.Option(help="As known at this epoch, or at this date (ISO 8601).")] = None,
    as_of: Annotated[str | None, typer.Option(help="True at this date (ISO 8601).")] = None,
    memory: Annotated[
        str | None, typer.Option(help="Only what `documents` say, or what you said: `conversations`.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Facts about the things that QUERY names, with the sentence that states each."""
    known = int(known_at) if known_at is not None and known_at.isdecimal() else known_at
    given = {"query": query, "known_at": known, "as_of": as_of, "memory": memory}
    body = {key: value for key, value in given.items() if value is not None}
    _show_facts(asked("memory search", "POST", "/search", json=body), as_json)


@app.command()
def facts(
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many at most.")] = 100, as_json: AsJson = False
) -> None:
    """All facts that you can see."""
    _show_facts(asked("memory facts", "GET", "/facts", params={"limit": limit}), as_json)


@app.command()
def correct(
    fact_id: FactId,
    text: Annotated[str | None, typer.Option(help="The sentence as it should be.")] = None,
    source: Annotated[str | None, typer.Option(help="What it is about.")] = None,
    relation: Annotated[str | None, typer.Option(help="The relation, such as LIVES_IN.")] = None,
    target: Annotated[str | None, typer.Option(help="What it is related to.")] = None,
    valid_at: Annotated[str | None, typer.Option(help="True since this date (ISO 8601).")] = None,
    invalid_at: Annotated[str | None, typer.Option(help="True until this date (ISO 8601).")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is right instead. The wrong fact is not learnt again from the same words."""
    given = {"text": text, "source": source, "relation": relation, "target": target}
    given |= {"valid_at": valid_at, "invalid_at": invalid_at}
    _change(fact_id, {key: value for key, value in given.items() if value is not None}, as_json)


@app.command()
def confirm(fact_id: FactId, as_json: AsJson = False) -> None:
    """Say that a fact is right."""
    _change(fact_id, {"confirmed": True}, as_json)


@app.command()
def forbid(
    fact_id: FactId, reason: Annotated[str | None, typer.Option(help="Why.")] = None, as_json: AsJson = False
) -> None:
    """Take a fact out; it is not learnt again from the same words."""
    _change(fact_id, {"forbidden": True} | ({"reason": reason} if reason else {}), as_json)


@app.command()
def conflicts(
    document: Annotated[str | None, typer.Option(help="Id of a document that has a say.")] = None,
    job: Annotated[str | None, typer.Option(help="Id of an ingestion job whose files have a say.")] = None,
    as_json: AsJson = False,
) -> None:
    """Where documents disagree: the same subject and relation with another object."""
    given = {"document": document, "job": job}
    found = asked("memory conflicts", "GET", "/conflicts", params={key: one for key, one in given.items() if one})
    rows = (
        (one["subject"], one["relation"], claim["target"], claim["text"])
        for one in found["conflicts"]
        for claim in one["claims"]
    )
    _show(found, as_json, ("about", "relation", "said to be", "stated as"), rows)


@app.command()
def audit(as_json: AsJson = False) -> None:
    """Look up every quote in its source; count what belongs to nothing and what contradicts."""
    found = asked("memory audit", "GET", "/audit")
    share = f"{len(found['missing'])} ({found['missing_share']:.2%})"
    rows = [("facts", found["facts"]), ("entities", found["entities"]), ("facts whose quote is gone", share)]
    rows += [("facts without evidence", found["unproven"]), ("entities that belong to nothing", found["orphans"])]
    rows += [("contradictions between documents", found["contradictions"])]
    _show(found, as_json, ("", ""), rows)


@app.command()
def quarantine(
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many at most.")] = 100, as_json: AsJson = False
) -> None:
    """What a model claimed of documents without their saying so, and why it was not believed."""
    found = asked("memory quarantine", "GET", "/quarantine", params={"limit": limit})
    names = ("id", "subject", "relation", "object", "reason", "title")
    rows = (tuple(one[name] for name in names) for one in found["facts"])
    _show(found, as_json, ("id", "entity", "relation", "entity", "why not", "document"), rows)


@app.command()
def release(held_id: HeldId, as_json: AsJson = False) -> None:
    """Make a claim of a model that was held back a fact, which you vouch for."""
    found = asked("memory release", "POST", f"/quarantine/{held_id}/release")
    _show(found, as_json, ("released", "is now the fact"), [(held_id, found["fact_id"])])


@app.command()
def discard(held_id: HeldId, as_json: AsJson = False) -> None:
    """Take a claim of a model that was held back off the list."""
    asked("memory discard", "DELETE", f"/quarantine/{held_id}")
    _show({"discarded": held_id}, as_json, ("discarded",), [(held_id,)])


@app.command()
def extraction(
    yes: Annotated[bool, typer.Option("--yes", help="Agree to the cost without being asked.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Try again what failed.")] = False,
    as_json: AsJson = False,
) -> None:
    """How far a model has read the documents for facts. Where it is a paid one: what the rest costs, and whether to."""
    from aegis.cli.extraction import agreed, rows_of

    found = asked("memory extraction", "GET", "/extraction")
    if retry or agreed(found, yes=yes, quiet=as_json):
        found = asked("memory extraction", "POST", "/extraction")
    _show(found, as_json, ("", ""), rows_of(found))


@app.command()
def consolidate(as_json: AsJson = False) -> None:
    """Merge duplicate entities, take out what belongs to nothing, summarise: what is done each night, now."""
    import asyncio

    from rich.progress import Progress

    from aegis.cli.client import call, run
    from aegis.cli.output import errors

    async def work(client: httpx.AsyncClient) -> Any:
        state = await call(client, "POST", "/api/v1/memory/consolidate")
        with Progress(console=errors, disable=as_json) as progress:
            bar = progress.add_task("Consolidating", total=None)
            while state["running"]:
                await asyncio.sleep(0.2)
                state = await call(client, "GET", "/api/v1/memory/consolidate")
                progress.update(bar, description=f"Consolidating: {state['phase']}")
        return state

    found = run("memory consolidate", work)
    rows = [("duplicates merged", found["merged"]), ("entities that belonged to nothing", found["pruned"])]
    rows += [("summaries renewed", found["summarised"]), ("each can be undone", "aegis memory history")]
    _show(found, as_json, ("", ""), rows)


@app.command()
def about(name: Annotated[str, typer.Argument(help="Name of an entity.")], as_json: AsJson = False) -> None:
    """What is known of an entity: its summary, and the facts around it."""
    found = asked("memory about", "GET", "/graph", params={"entity": name})
    if found["summary"] and not as_json:
        print(found["summary"] + "\n")
    _show_facts(found, as_json)


@app.command()
def history(
    fact: Annotated[str | None, typer.Option(help="Changes of this fact only.")] = None, as_json: AsJson = False
) -> None:
    """What superseded, corrected, confirmed or forbade facts, newest first."""
    found = asked("memory history", "GET", "/changes", params={"fact": fact} if fact else {})
    rows = (
        (one["id"], one["at"][:19], one["kind"] + (" (undone)" if one["undone_at"] else ""), one["by"], one["reason"])
        for one in found["changes"]
    )
    _show(found, as_json, ("change", "at", "what", "by", "why"), rows)


@app.command()
def undo(
    change_id: Annotated[str, typer.Argument(help="As `memory history` shows it.")], as_json: AsJson = False
) -> None:
    """Put back what a change took."""
    found = asked("memory undo", "POST", f"/changes/{change_id}/undo")
    _show(found, as_json, ("undone", "fact"), [(found["kind"], found["fact_id"])])


def _change(fact_id: str, body: dict[str, Any], as_json: bool) -> None:
    fact = asked("memory change", "PATCH", f"/facts/{fact_id}", json=body)
    _show(fact, as_json, ("fact", "state", "stated as"), [(fact["id"], fact["state"], fact["text"])])


def _show_facts(found: Any, as_json: bool) -> None:
    rows = ((fact["source"], fact["relation"], fact["target"], fact["memory"], fact["text"]) for fact in found["facts"])
    _show(found, as_json, ("entity", "relation", "entity", "memory", "stated as"), rows)


def _show(found: Any, as_json: bool, headings: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    from aegis.cli.output import print_json, print_table

    if as_json:
        print_json(found)
    else:
        print_table(headings, rows)
