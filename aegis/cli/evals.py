"""`aegis eval`: the evaluation itself is `evals/`'s."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

app = typer.Typer(no_args_is_help=True)


@app.callback()
def evals() -> None:
    """Keeps `run` a command of its own, however many there are."""


@app.command()
def run(
    cases: Annotated[str, typer.Argument(help="`samples`, `saved` (the store's conversations), or a JSONL file.")] = (
        "samples"
    ),
    threshold: Annotated[
        list[str] | None, typer.Option(help="Such as expected>=0.9; may be repeated. Exit code 1 if missed.")
    ] = None,
    against: Annotated[Path | None, typer.Option(help="An earlier run's --json, to compare with.")] = None,
    parallel: Annotated[int, typer.Option(help="Conversations asked at a time.", min=1, max=32)] = 2,
    judge: Annotated[
        bool, typer.Option("--judge", help="Let a language model on this machine grade each answer, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask saved questions again; measure the answers, and compare them with an earlier run."""
    from rich.progress import Progress

    from aegis.cli.client import run as connected
    from aegis.cli.output import console, errors, print_json
    from evals import report
    from evals.assistant import ApiAssistant
    from evals.outcome import choose_cases, evaluate
    from evals.runs import Pace

    thresholds = [report.threshold(text) for text in threshold or []]
    earlier = report.read_report(against) if against else None

    async def work(client: httpx.AsyncClient) -> Any:
        assistant = ApiAssistant(client)
        chosen = await choose_cases(cases, assistant)
        with Progress(console=errors, disable=as_json) as progress:
            bar = progress.add_task("Asking", total=len(chosen))
            return await evaluate(
                chosen,
                assistant,
                pace=Pace(parallel=parallel),
                thresholds=thresholds,
                against=earlier,
                seen=lambda _: progress.advance(bar),
                judge=assistant if judge else None,
            )

    outcome = connected("eval run", work)
    if as_json:
        print_json(outcome.as_dict())
    else:
        outcome.show(console)
    raise typer.Exit(outcome.exit_code)
