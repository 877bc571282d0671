"""What reading by a paid model costs, asked before it is paid."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import typer

HOW = "Nothing was sent. To agree later: aegis memory extraction --yes"


def told(estimate: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """The estimate in a sentence."""
    return (
        f"{found['model']} at {found['provider']} would read {estimate['chunks']:,} passages for facts: about "
        f"{estimate['calls']:,} calls, {estimate['tokens_in']:,} tokens read and {estimate['tokens_out']:,} written, "
        f"{estimate['cost']:.4g} US dollars (from a sample of {estimate['sampled']}). It stops at the budget."
    )


def agreed(found: Mapping[str, Any], *, yes: bool, quiet: bool) -> bool:
    """Whether the person at the terminal agrees; nobody is asked where there is nothing to pay or no terminal."""
    estimate = found["estimate"]
    if estimate is None:
        return False
    if yes:
        return True
    if quiet or not sys.stdin.isatty():
        return False
    from aegis.cli.output import console

    console.print(told(estimate, found), markup=False)
    return typer.confirm("Read them?", default=False)


def decide(found: Mapping[str, Any], *, yes: bool, quiet: bool) -> None:
    """After taking files in: show what it would cost, ask, and tell the server."""
    from aegis.cli.memory_api import asked
    from aegis.cli.output import console

    if agreed(found, yes=yes, quiet=quiet):
        asked("memory extraction", "POST", "/extraction")
        if not quiet:
            console.print("They are read in the background, while a server runs: aegis memory extraction", markup=False)
    elif not quiet:
        console.print(told(found["estimate"], found), markup=False)
        console.print(HOW, markup=False)


def rows_of(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "reading with a model", "on" if found["enabled"] else "off (AEGIS_EXTRACTION__ENABLED=yes)"
    if found["model"]:
        yield "model", f"{found['model']} at {found['provider']}{', paid' if found['paid'] else ''}"
    for state in ("waiting", "running", "done", "failed", "quarantined"):
        yield state, f"{found[state]:,}"
    if found["estimate"] is not None:
        yield "not agreed to", told(found["estimate"], found)
    if found["waits"]:
        yield "waits", found["waits"]
    yield from (("failed", reason) for reason in found["failures"])
