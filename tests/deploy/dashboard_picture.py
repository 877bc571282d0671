"""docs/images/dashboard.png: the panels of the Grafana dashboard, drawn from their own queries.

    python -m tests.deploy.dashboard_picture [--seconds 90] [--into docs/images/dashboard.png]

A real Prometheus scrapes a server of ours that is in use; what Grafana would ask is asked of it, and drawn.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evals.bench.server import ROOT
from tests.deploy.use import DASHBOARD, use
from tests.servers.ollama import running_ollama_like
from tests.servers.prometheus import running_prometheus
from tests.system.application import Site

UNITS = {"s": (1000, "ms"), "bytes": (1 / 1e6, "MB"), "percentunit": (100, "%")}
MOST = 6  # lines of a panel


def drawn(prometheus: str, began: float, ended: float) -> Figure:
    """One figure laid out as the dashboard is."""
    panels = DASHBOARD["panels"]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = Figure((18, height * 0.3), facecolor="#fafafa")
    for panel in panels:
        place = panel["gridPos"]
        if panel["type"] == "row":
            figure.text(0.008, 1 - (place["y"] + 0.8) / height, panel["title"], fontsize=12, weight="bold")
            continue
        left, width = place["x"] / 24 + 0.022, place["w"] / 24 - 0.034
        bottom, tall = 1 - (place["y"] + place["h"] - 0.9) / height, (place["h"] - 2.4) / height
        axes = figure.add_axes((left, bottom, width, tall))
        axes.set_title(panel["title"], fontsize=9, loc="left")
        axes.tick_params(labelsize=7)
        lines = [line for target in panel["targets"] for line in _lines(prometheus, target, began, ended)]
        scale, unit = UNITS.get(panel["fieldConfig"]["defaults"].get("unit", ""), (1, ""))
        (_number if panel["type"] == "stat" else _curves)(axes, lines, scale, unit)
    return figure


def _lines(
    prometheus: str, target: Mapping[str, Any], began: float, ended: float
) -> list[tuple[str, list[float], list[float]]]:
    """(name, seconds since the start, values) of each series."""
    asked = {"query": target["expr"].replace("$__rate_interval", "15s"), "start": began, "end": ended, "step": 1}
    answer = httpx.get(f"{prometheus}/api/v1/query_range", params=asked, trust_env=False).json()
    found: list[tuple[str, list[float], list[float]]] = []
    for series in answer["data"]["result"]:
        name = target.get("legendFormat", "").replace("__auto", "")
        for label, value in series["metric"].items():
            name = name.replace(f"{{{{{label}}}}}", value)
        name = re.sub(r"{{\w+}}", "", name).strip()
        points = [(float(at) - began, float(value)) for at, value in series["values"]]
        found.append((name, [at for at, _ in points], [value for _, value in points]))
    return found


def _number(axes: Axes, lines: Sequence[tuple[str, list[float], list[float]]], scale: float, unit: str) -> None:
    axes.axis("off")
    said = "\n".join(f"{name} {values[-1] * scale:.4g} {unit}".strip() for name, _, values in lines[:MOST])
    axes.text(0.5, 0.4, said or "no data", ha="center", va="center", fontsize=15 if len(lines) < 2 else 8)


def _curves(axes: Axes, lines: Sequence[tuple[str, list[float], list[float]]], scale: float, unit: str) -> None:
    largest = sorted(lines, key=lambda line: -max((value for value in line[2] if value == value), default=0.0))
    for name, at, values in largest[:MOST]:
        axes.plot(at, [value * scale for value in values], linewidth=1.2, label=name or None)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(unit, fontsize=7)
    axes.grid(alpha=0.25)
    if any(name for name, _, _ in largest[:MOST]):
        axes.legend(fontsize=6, frameon=False, loc="upper left")


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the dashboard from its own queries.")
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "images" / "dashboard.png")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_ollama_like() as model:
        settings = {"AEGIS_OLLAMA__URL": model.url, "AEGIS_OLLAMA__PROBE_INTERVAL": "1"}
        site = Site(Path(folder) / "var", settings)
        site.start()
        try:
            with running_prometheus(site.port, ROOT / "deploy" / "prometheus" / "rules.yaml") as prometheus:
                began = time.time()
                use(site, given.seconds)
                drawn(prometheus, began, time.time()).savefig(given.into, dpi=70)
        finally:
            site.stop()


if __name__ == "__main__":
    main()
