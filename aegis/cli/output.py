"""What commands print: JSON for programs, tables and bars for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

SHOWN = "\u00a0\u200c\u200d"  # not `printable`, but part of words

console = Console()
errors = Console(stderr=True)


def print_json(value: Any) -> None:
    """Half surrogates (file names that are not UTF-8) can only be written escaped."""
    try:
        text = json.dumps(value, ensure_ascii=False, indent=1, default=str)
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=1, default=str)
    print(text)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Cells are text, never markup: what documents say cannot colour or link anything."""
    table = Table(*columns)
    for row in rows:
        table.add_row(*(escape(line(str(cell))) for cell in row))
    console.print(table)


def line(text: str) -> str:
    """On one line, with nothing in it that steers a terminal or that it cannot show."""
    return "".join(
        letter if letter.isprintable() or letter in SHOWN else letter.encode("unicode_escape").decode()
        for letter in text
    )


def lines(text: str) -> str:
    """The same, keeping its lines."""
    return "\n".join(line(each) for each in text.splitlines())
