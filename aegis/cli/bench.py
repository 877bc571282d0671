"""`aegis bench`: the benchmarks themselves are `evals/bench/`'s."""

from __future__ import annotations

from typing import Annotated

import typer


def bench(
    name: Annotated[str, typer.Argument(help="Name of a benchmark, or `all`.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from aegis.cli.output import print_json
    from evals.bench import BENCHES, run

    names = list(BENCHES) if name == "all" else [name]
    results = {each: run(each, quiet=as_json) for each in names}
    if as_json:
        print_json(results if name == "all" else results[name])
