"""`aegis eval`: the evaluation itself is `evals/`'s."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True)
