"""Our loaders on real files beside conversions that people checked: how much of the text comes through, how much else.

Reads `docs_docling` under AEGIS_DATASETS: `files/FORMAT/sources/NAME` with `files/FORMAT/groundtruth/NAME.md`.
Recall: share of the truth's words found, each as often as it stands there. Precision: share of our words that stand in
the truth at all, because we name the column of every cell again. Words are runs of letters and digits, case left out.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aegis.errors import AegisError, UnsupportedFormat
from evals.bench.datasets import dataset_folder, lines
from retrieval.loaders import load

DATASET = "docs_docling"
_WORDS = re.compile(r"[^\W_]+")
_MARKUP = re.compile(r"<!--.*?-->|!?\[([^\]]*)\]\([^)]*\)|</?[a-z][^>]*>", re.S | re.I)


def bench(*, quiet: bool = False) -> dict[str, Any]:
    """Raises NotFound without the data set."""
    folder = dataset_folder(DATASET)
    read = dict[str, list[Mapping[str, Any]]]()
    for row in lines(folder / "manifest.jsonl"):
        if row["role"] == "source":
            read.setdefault(str(row["ext"]), []).append(_file(folder, row["path"]))
    found = {"formats": {each: _summed(read[each]) for each in sorted(read)}}
    if not quiet:
        print_table(found)
    return found


def _file(folder: Path, path: str) -> Mapping[str, Any]:
    file = folder / path
    started = time.perf_counter()
    try:
        text = load(file.read_bytes(), f"file:///{path}").text
    except UnsupportedFormat as error:
        return {"unsupported": error.message}
    except AegisError as error:
        return {"refused": error.message}
    taken: dict[str, Any] = {"ms": (time.perf_counter() - started) * 1000}
    truth = next(_truths(file), None)
    if truth is not None:
        taken |= compared(text, truth.read_text(encoding="utf-8"))
    return taken


def _truths(file: Path) -> Iterator[Path]:
    for folder in (file.parent.parent / "groundtruth", file.parent):
        yield from (each for name in (f"{file.name}.md", f"{file.stem}.md") if (each := folder / name).exists())


def compared(text: str, truth: str) -> dict[str, float]:
    """Recall and precision by words; of an empty truth nothing."""
    ours, theirs = _counted(text), _counted(_MARKUP.sub(r" \1 ", truth))
    if not theirs or not ours:
        return {}
    known = sum(count for word, count in ours.items() if word in theirs)
    return {"recall": (ours & theirs).total() / theirs.total(), "precision": known / ours.total()}


def _counted(text: str) -> Counter[str]:
    return Counter(_WORDS.findall(text.lower()))


def _summed(files: list[Mapping[str, Any]]) -> dict[str, Any]:
    taken = [each for each in files if "ms" in each]
    judged = [each for each in taken if "recall" in each]
    means = {
        name: round(sum(each[name] for each in judged) / len(judged), 3) if judged else None
        for name in ("recall", "precision")
    }
    times = sorted(each["ms"] for each in taken)
    return {
        "files": len(files),
        "taken": len(taken),
        "refused": sum("refused" in each for each in files),
        "unsupported": sum("unsupported" in each for each in files),
        "compared": len(judged),
        **means,
        "ms_p50": round(times[len(times) // 2], 1) if times else None,
        "reasons": sorted({str(each.get("refused") or each["unsupported"]) for each in files if "ms" not in each}),
    }


def markdown(found: Mapping[str, Any]) -> str:
    """The table of docs/formats.md."""
    columns = ("files", "taken", "refused", "unsupported", "compared", "recall", "precision")
    rows = [f"| format | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for name, figures in found["formats"].items():
        cells = ("" if figures[column] is None else str(figures[column]) for column in columns)
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def print_table(found: Mapping[str, Any]) -> None:
    from rich.console import Console

    Console(width=200).print(markdown(found), markup=False, highlight=False)
