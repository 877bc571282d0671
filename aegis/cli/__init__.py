"""The command line. One file per command; each is a thin caller of the HTTP API (`client.py`).

Imports of the house happen inside the commands: `aegis --help` answers at once.
"""

from __future__ import annotations

import json
import sys

import typer

from aegis import __version__
from aegis.cli import ask, bench, doctor, documents, evals, ingest, jobs, memory, rebuild, search, serve
from aegis.errors import AegisError

app = typer.Typer(
    help="A private assistant over your own documents and conversations, with citations anyone can check.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

app.command(help="Start the assistant: page, API and metrics in one process.")(serve.serve)
app.command(help="Run the graph under `langgraph dev`, offline, on the same data folder.")(serve.studio)
app.command(help="Take in files and folders.")(ingest.ingest)
app.command(help="Search the documents.")(search.search)
app.command(help="Ask a question; the answer cites its passages.")(ask.ask)
app.command(help="List the documents.")(documents.documents)
app.command(help="List ingestion jobs, or show, cancel one.")(jobs.jobs)
app.command(help="Rebuild the indexes from the relational store, without any model call.")(rebuild.rebuild)
app.command(help="Check this installation and say what mends what is wrong.")(doctor.doctor)
app.command(help="Run one benchmark, or all.")(bench.bench)
app.add_typer(memory.app, name="memory", help="Search and inspect the graph memory.")
app.add_typer(evals.app, name="eval", help="Replay saved questions through the current code.")


@app.callback(invoke_without_command=True)
def version(show: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if show:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point: an AegisError becomes one sentence (or one JSON object) and exit code 1."""
    try:
        app()
    except AegisError as error:
        if "--json" in sys.argv:
            print(json.dumps({"error": {"code": error.code, "message": error.message}}))
        else:
            print(error.message, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
