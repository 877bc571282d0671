"""`aegis bench`: the benchmarks themselves are `evals/bench/`'s."""

from __future__ import annotations

from typing import Annotated

import typer


def bench(
    name: Annotated[str, typer.Argument(help="Name of a benchmark, or `all`.")],
    dataset: Annotated[str | None, typer.Option(help="Name of a folder under AEGIS_DATASETS, or `all`.")] = None,
    embedder: Annotated[str | None, typer.Option(help="wordllama, onnx:FOLDER, ollama:MODEL or openai:MODEL.")] = None,
    no_titles: Annotated[bool, typer.Option("--no-titles", help="Hide the titles of passages (graph).")] = False,
    facts: Annotated[str | None, typer.Option(help="How many facts, such as 10000,100000 (memory).")] = None,
    no_facts: Annotated[bool, typer.Option("--no-facts", help="Learn no facts from what was said (turns).")] = False,
    compare: Annotated[str | None, typer.Option(help="What --json printed before: paired ratios (http).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from aegis.cli.output import print_json
    from evals.bench import run, run_all

    given = {
        "dataset": dataset,
        "embedder": embedder,
        "no_titles": no_titles or None,
        "facts": facts,
        "no_facts": no_facts or None,
        "compare": compare,
    }
    options = {key: value for key, value in given.items() if value is not None}
    results = run_all(quiet=as_json) if name == "all" else run(name, quiet=as_json, **options)
    if as_json:
        print_json(results)
