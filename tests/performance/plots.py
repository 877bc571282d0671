"""The report's pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

SIZE = (9.0, 3.2)
BLUE, ORANGE, GREY = "#2563eb", "#ea580c", "#94a3b8"


def timeline(found: Mapping[str, Any], file: Path) -> None:
    """Arrivals, and p50 and p95 of what was due in the same five seconds."""
    steps = [step for step in found["timeline"] if "p50_ms" in step]
    at = [step["at"] for step in steps]
    figure = Figure(SIZE, layout="constrained")
    left = figure.subplots()
    left.plot(at, [step["p95_ms"] for step in steps], color=ORANGE, label="p95")
    left.plot(at, [step["p50_ms"] for step in steps], color=BLUE, label="p50")
    left.set(xlabel="seconds", ylabel="ms", ylim=(0, None), title=found["title"])
    left.legend(loc="upper left", frameon=False)
    right = left.twinx()
    right.plot(at, [step["rate"] for step in steps], color=GREY, linestyle=":")
    right.set(ylabel="requests/s (dotted)", ylim=(0, None))
    figure.savefig(file, dpi=110)


def memory(moments: Sequence[Mapping[str, Any]], file: Path) -> None:
    """PSS by what a process is, stacked."""
    roles = list(dict.fromkeys(role for one in moments for role in one["pss_mb"]))
    figure = Figure(SIZE, layout="constrained")
    axes = figure.subplots()
    layers = [[one["pss_mb"].get(role, 0.0) for one in moments] for role in roles]
    axes.stackplot([one["at"] for one in moments], *layers, labels=roles, alpha=0.85)
    axes.set(xlabel="seconds", ylabel="PSS, MB", ylim=(0, None), title="Memory under load")
    axes.legend(loc="lower right", frameon=False)
    figure.savefig(file, dpi=110)


def parts(chat: Mapping[str, float], file: Path) -> None:
    """Mean milliseconds of a question, by node."""
    rows = [(name, ms) for name, ms in chat.items() if name not in ("request", "side by side")]
    figure = Figure((SIZE[0], 0.5 + 0.28 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.barh([name for name, _ in rows], [ms for _, ms in rows], color=BLUE)
    axes.invert_yaxis()
    axes.set(xlabel="mean ms of a chat request", title="Where the time of a question goes")
    figure.savefig(file, dpi=110)


def sweep(rows: Sequence[Mapping[str, Any]], x: str, y: str, file: Path, title: str) -> None:
    """One measure over one setting, each step as a bar."""
    figure = Figure((SIZE[0] / 2, SIZE[1]), layout="constrained")
    axes = figure.subplots()
    bars = axes.bar([str(row[x]) for row in rows], [float(row[y]) for row in rows], color=BLUE, width=0.6)
    axes.bar_label(bars, fmt="{:,g}", padding=2, fontsize=8)
    axes.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "), title=title)
    axes.margins(y=0.15)
    figure.savefig(file, dpi=110)
