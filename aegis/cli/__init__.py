"""The command line. One file per command; each is a thin caller of the HTTP API (`client.py`).

Imports of the house happen inside the commands: `aegis --help` answers at once.
"""

from __future__ import annotations

import io
import json
import sys

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError

from aegis import __version__
from aegis.cli import (
    ask,
    backup,
    bench,
    conversations,
    doctor,
    documents,
    evals,
    forget,
    ingest,
    jobs,
    memory,
    questions,
    rebuild,
    reindex,
    search,
    serve,
    why,
    worker,
)
from aegis.errors import AegisError, ConfigurationError

# Between a setting's name and its field, the chosen kind stands in what pydantic reports, though not in the variable.
KINDS = frozenset({"none", "sqlite", "postgres", "edge", "qdrant", "relational", "neo4j", "process", "redis"}) | {
    "wordllama",
    "onnx",
    "ollama",
    "openai",
}

app = typer.Typer(
    help="A private assistant over your own documents and conversations, with citations anyone can check.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

app.command(help="Start the assistant: page, API and metrics in one process.")(serve.serve)
app.command(help="Take up files of ingestion jobs beside the server; any number, on PostgreSQL.")(worker.worker)
app.command(help="Run the graph under `langgraph dev`, offline, on the same data folder.")(serve.studio)
app.command(help="Take in files and folders.")(ingest.ingest)
app.command(help="Search the documents.")(search.search)
app.command(help="Show where a document is lost on the way to an answer.")(why.why)
app.command(help="Ask a question; the answer cites its passages.")(ask.ask)
app.command(help="List the documents.")(documents.documents)
app.command(help="Mark documents as private: nothing of them ever leaves this machine.")(documents.private)
app.command(help="List what the documents do not answer, and what has come in since.")(questions.questions)
app.command(help="Forget documents and conversations; --erase takes them off the disk.")(forget.forget)
app.command(help="List ingestion jobs, or show, cancel one.")(jobs.jobs)
app.command(help="Write everything that must not be lost to one file, while the server runs.")(backup.backup)
app.command(help="Put a backup in the place of what is there, while the server runs.")(backup.restore)
app.command(help="Rebuild the indexes from the relational store, without any model call.")(rebuild.rebuild)
app.command(help="Embed everything with the embedder that the settings name now, while searches go on.")(
    reindex.reindex
)
app.command(help="Check this installation and say what mends what is wrong.")(doctor.doctor)
app.command(help="Run one benchmark, or all.")(bench.bench)
app.add_typer(conversations.app, name="conversations", help="List, search, export, import and erase conversations.")
app.add_typer(memory.app, name="memory", help="Search and inspect the graph memory.")
app.add_typer(evals.app, name="eval", help="Replay saved questions through the current code.")


@app.callback(invoke_without_command=True)
def version(show: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if show:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point. What is wrong becomes one sentence (or one JSON object) and exit code 1; 2 is a wrong call."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a letter is no reason to stop
    try:
        app()
    except AegisError as error:
        _fail(error)
    except ValidationError as error:
        if error.title != "Settings":
            raise
        _fail(wrong_setting(error))
    except SettingsError as error:
        _fail(ConfigurationError(f"{error}. Lists and sections are written as JSON."))


def wrong_setting(error: ValidationError) -> ConfigurationError:
    """The first problem, by the name of its variable."""
    problem = error.errors(include_url=False)[0]
    names = [str(part) for index, part in enumerate(problem["loc"]) if index != 1 or part not in KINDS]
    name = "AEGIS_" + "__".join(names).upper()
    shown = isinstance(problem["input"], str | int | float) and not _may_be_secret(name)
    given = f"={str(problem['input'])[:60]}" if shown else ""
    return ConfigurationError(f"The setting {name}{given} cannot be used: {problem['msg']}. See docs/configuration.md.")


def _may_be_secret(name: str) -> bool:
    """By its name, because a secret under a wrong kind of backend is no `SecretStr`. Addresses may hold passwords."""
    return any(part in name for part in ("URL", "PASSWORD", "KEY", "TOKEN", "SECRET"))


def _fail(error: AegisError) -> None:
    if "--json" in sys.argv:
        print(json.dumps({"error": {"code": error.code, "message": error.message}}))
    else:
        print(error.message, file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
