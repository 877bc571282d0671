"""docs/performance.md, made from what `make load` measured; nothing in it is typed by hand.

    python -m tests.performance.report [--from results/load] [--docs docs]

`memory.json` beside the results, where `memory_profile --json` has written one, adds the leak verdict; `sweeps.json`,
from `python -m tests.performance.sweeps`, what became of the original report's bottlenecks.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.performance import plots

ROWS = ("requests", "failed", "shed", "p50_ms", "p95_ms", "p99_ms", "most_ms")
HEADS = ("requests", "failed", "shed", "p50 ms", "p95 ms", "p99 ms", "longest ms")
TITLES = {
    "extractive": "Answers quoted (no model)",
    "ollama": "Answers from a server that speaks Ollama's protocol",
}
SHORT = 60.0  # seconds of a scenario of `make load-short`
SWEEPS = {  # title, and what is drawn: a measure over a setting
    "models": ("Model servers", "servers", "chats_per_second"),
    "connections": ("Connections to PostgreSQL, 50 readers", "connections", "wait_p95_ms"),
    "redis": ("Redis of 8 MB: conversations that stand in it", "form", "conversations"),
    "cache": ("Cached answers, 2,000 questions as Zipf has them", "limit", "hit_rate"),
}
TARGETS = """| Aim | Measured |
|---|---|"""


def written(
    results: Mapping[str, Any], memory: Mapping[str, Any] | None, sweeps: Mapping[str, Any] | None, docs: Path
) -> str:
    """The page's text; its plots are drawn into `docs`/images/performance."""
    images = docs / "images" / "performance"
    images.mkdir(parents=True, exist_ok=True)
    sections = [*_head(results), *_aims(results, memory)]
    for name, profile in results["profiles"].items():
        sections += _profile(name, profile, images)
    sections += [*_alone(results), *_swept(sweeps or {}, images), *_memory(results, memory, images)]
    sections += [*_silent(results, memory), *(f"- {reason}" for reason in (sweeps or {}).get("missing", ()))]
    return "\n".join(sections) + "\n"


def _head(results: Mapping[str, Any]) -> Iterator[str]:
    machine = results["machine"]
    yield "# Performance\n"
    longest = max((one["seconds"] for profile in results["profiles"].values() for one in profile.values()), default=0)
    command = "`make load`" if longest > SHORT else "`make load-short` (a minute of each scenario, not five)"
    yield (
        f"Made by {command} and `python -m tests.performance.report`; every figure was measured in one run, with the "
        "load generator on the same machine.\n"
    )
    yield "| | |\n|---|---|"
    yield f"| when | {results['at'][:16].replace('T', ' ')} UTC |"
    for name, value in machine.items():
        yield f"| {name} | {value} |"
    ingest = results["ingest"]
    yield f"| corpus | {ingest['chunks']:,} chunks x 1,024 dimensions, taken in at {ingest['chunks_per_second']}/s |\n"
    yield (
        "Requests leave when they are due, whatever became of those before (an open model), and latency counts from "
        "then: a server that stalls cannot hide it. *Shed* requests were refused at once with 503 and `Retry-After`.\n"
    )


def _aims(results: Mapping[str, Any], memory: Mapping[str, Any] | None) -> Iterator[str]:
    yield "## Aims\n\n" + TARGETS
    peak = results["profiles"].get("extractive", {}).get("peak")
    if peak:
        search, chat = peak["by_request"]["search, hybrid"], peak["by_request"]["chat"]
        yield f"| hybrid search at 100 requests/s: p95 <= 20 ms | {search['p95_ms']} ms |"
        yield f"| the same, p99 <= 60 ms | {search['p99_ms']} ms |"
        yield f"| chat without model time: p95 <= 30 ms | {chat['p95_ms']} ms |"
        every = peak["all"]
        yield f"| no errors | {every['failed']} failed, {every['shed']} shed of {every['requests']:,} |"
        yield f"| PSS of all processes <= 600 MB | {peak['most_mb']} MB |"
    yield f"| hybrid search alone: >= 250 requests/s | {results['alone']['capacity']}/s |"
    overload = results["profiles"].get("extractive", {}).get("overload")
    if overload:
        yield (
            f"| twice the capacity: p95 of what is accepted at most 2 times that at capacity | "
            f"{overload['all'].get('p95_ms')} ms, at capacity {results['alone']['full']['p95_ms']} ms |"
        )
    if memory:
        yield f"| memory does not grow | {memory['verdict']} |"
    yield ""


def _profile(name: str, profile: Mapping[str, Any], images: Path) -> Iterator[str]:
    titles = {
        "extractive": "Answers quoted (no model)",
        "ollama": "Answers from a server that speaks Ollama's protocol",
    }
    yield f"## {titles.get(name, name)}\n"
    for scenario, found in profile.items():
        picture = f"{name}-{scenario}.png"
        plots.timeline(found, images / picture)
        yield f"### {found['title']}, {found['seconds']:.0f} s\n"
        yield _table(("", *HEADS), _rows(found))
        yield f"\nMost memory: {found['most_mb']} MB (PSS of all processes).\n\n![](images/performance/{picture})\n"
    last: Mapping[str, Any] = profile["peak"] if "peak" in profile else list(profile.values())[-1]
    if last["inside"]["chat"]:
        plots.parts(last["inside"]["chat"], images / f"{name}-parts.png")
        yield f"### Where the time goes ({last['title']})\n"
        for kind in ("nodes", "backends"):
            yield _inside(kind, last["inside"][kind]) + "\n"
        yield f"![](images/performance/{name}-parts.png)\n"


def _rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    named = {**found["by_request"], "**all**": found["all"]}
    return [(name, *(str(row.get(key, "")) for key in ROWS)) for name, row in named.items()]


def _inside(kind: str, found: Mapping[str, Mapping[str, float]]) -> str:
    keys = ("count", "mean_ms", "p50_ms", "p95_ms", "p99_ms")
    ordered = sorted(found.items(), key=lambda pair: -pair[1]["mean_ms"])
    return _table(
        (kind, "count", "mean ms", "p50", "p95", "p99"),
        [(name, *(f"{row[key]:g}" for key in keys)) for name, row in ordered],
    )


def _alone(results: Mapping[str, Any]) -> Iterator[str]:
    yield "## Hybrid search alone, and what a user would write instead\n"
    keys = ("p50_ms", "p95_ms", "p99_ms", "per_second")
    ours = results["alone"]
    rows = [("AegisRAG, 20 requests/s", *(str(ours["calm"][key]) for key in keys))]
    rows.append(("AegisRAG, 8 callers", *(str(ours["full"][key]) for key in keys)))
    rival = results.get("rival")
    if rival:
        rows.append(("LangChain EnsembleRetriever, 20 requests/s", *(str(rival["calm"].get(key, "")) for key in keys)))
        rows.append(("LangChain EnsembleRetriever, 8 callers", *(str(rival["full"].get(key, "")) for key in keys)))
    yield _table(("", "p50 ms", "p95 ms", "p99 ms", "per second"), rows) + "\n"
    if rival and rival["capacity"]:
        faster = ours["capacity"] / rival["capacity"]
        yield f"Throughput: {faster:.1f} times; memory of the rival: {rival['memory_mb']} MB.\n"


def _swept(sweeps: Mapping[str, Any], images: Path) -> Iterator[str]:
    if sweeps:
        yield "## What the original report called bottlenecks\n"
    for name, (title, setting, measure) in SWEEPS.items():
        rows = sweeps.get(name)
        if not rows:
            continue
        yield f"### {title}\n"
        yield _table(
            [key.replace("_", " ") for key in rows[0]], [[str(value) for value in row.values()] for row in rows]
        )
        plots.sweep(rows, setting, measure, images / f"sweep-{name}.png", title)
        yield f"\n![](images/performance/sweep-{name}.png)\n"


def _memory(results: Mapping[str, Any], memory: Mapping[str, Any] | None, images: Path) -> Iterator[str]:
    yield "## Memory and disk\n"
    yield _table(("store", "MB on disk"), [(store, str(size)) for store, size in results["stores_mb"].items()]) + "\n"
    if memory is None:
        return
    plots.memory(memory["moments"], images / "memory.png")
    line = memory["slope"]
    if line:
        yield (
            f"{memory['minutes']:g} minutes at {memory['rate']:g} requests/s: {line['mb_per_hour']} MB an hour "
            f"(95 % interval {line['low']} to {line['high']}): **{memory['verdict']}**.\n"
        )
    yield "![](images/performance/memory.png)\n"


def _silent(results: Mapping[str, Any], memory: Mapping[str, Any] | None) -> Iterator[str]:
    yield "## What was not measured\n"
    yield "- A language model: its protocol was spoken at a set speed; a real one adds its own time and memory."
    yield "- A network: load generator, server and stores share one machine, and its processors."
    yield "- The server profile (PostgreSQL, Qdrant, Neo4j, Redis) under load, and more than one replica."
    if memory is None or memory["minutes"] < 20:
        yield "- Whether memory grows over 20 minutes and more: `python -m tests.performance.memory_profile`."
    if any(found["seconds"] < 120 for profile in results["profiles"].values() for found in profile.values()):
        yield "- Minutes: this was the short run, one minute for each scenario."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description="Write docs/performance.md from measured results.")
    parser.add_argument("--from", dest="source", type=Path, default=Path("results/load"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    given = parser.parse_args()
    results = json.loads((given.source / "results.json").read_text(encoding="utf-8"))
    memory, sweeps = (_read(given.source / f"{name}.json") for name in ("memory", "sweeps"))
    (given.docs / "performance.md").write_text(written(results, memory, sweeps, given.docs), encoding="utf-8")


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


if __name__ == "__main__":
    main()
