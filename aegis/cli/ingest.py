"""`aegis ingest`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from aegis.cli.sending import shown, take_in


def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders (taken recursively).")],
    collection: Annotated[str, typer.Option(help="Collection they belong to.")] = "default",
    tag: Annotated[list[str] | None, typer.Option(help="A tag; may be repeated.")] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Nothing of them leaves this machine, whatever the settings allow.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove documents whose files are gone from these folders.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Agree to what reading by a paid model costs without being asked.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Then stay, and take in what changes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    form: dict[str, Any] = {"collection": collection, "tags": tag or [], **({"private": "yes"} if private else {})}
    report = take_in(paths, form, prune=prune, quiet=as_json)
    shown(report, as_json=as_json)
    if report["extraction"] is not None:
        from aegis.cli.extraction import decide

        decide(report["extraction"], yes=yes, quiet=as_json)
    if watch:
        from aegis.cli.watching import follow

        follow(paths, form, prune=prune, as_json=as_json)
    elif report["failures"] or report["waits"]:
        raise typer.Exit(1)
