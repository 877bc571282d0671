"""Following mentions on public data sets: our default, mode `graph`, and `auto`, which decides by itself.

Each passage is one chunk, read by the rules and written to the graph memory as ingestion does. `auto` is the chat's
default path and knows nothing of the data set. `no_titles` hides the titles: names are then looked up by what
passages open with. Where a data set brings published runs (`published_runs.json`: ranked passage ids by query by
system), they are compared question by question.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aegis.settings import Settings
from evals.bench.datasets import RankingSet, dataset_folder, ranking_sets
from evals.bench.retrieval import DEPTH, Ranking, figures, timed
from evals.bench.shelf import Shelf, open_shelf, whole
from retrieval.embedding import Embedder, open_embedder
from retrieval.embedding.named import embedder_settings
from retrieval.search import Mode, Searcher, SearchRequest

PUBLISHED = "published_runs.json"
FIRST = 8  # the place by which all gold passages are to be there
RESAMPLES = 10_000


def bench(
    *, quiet: bool = False, dataset: str = "all", embedder: str = "wordllama", no_titles: bool = False
) -> dict[str, Any]:
    """Raises NotFound without data sets, ConfigurationError without the extra `bench`."""
    chosen = list(ranking_sets(dataset))
    found = asyncio.run(_measure([_untitled(each) for each in chosen] if no_titles else chosen, embedder))
    if not quiet:
        _show(found)
    return found


async def _measure(chosen: Sequence[RankingSet], embedder: str) -> dict[str, Any]:
    results, published = dict[str, Any](), dict[str, Any]()
    async with open_embedder(embedder_settings(embedder, Settings().embedder)) as opened:
        for each in chosen:
            results[each.name], runs = await _systems(each, opened)
            file = dataset_folder(each.name) / PUBLISHED
            if file.is_file():
                published[each.name] = compared(each, runs["auto"], json.loads(file.read_text()))
        return {"embedder": opened.name, "datasets": results, "published": published}


async def _systems(given: RankingSet, embedder: Embedder) -> tuple[dict[str, Any], dict[str, dict[str, Ranking]]]:
    names = {f"passage-{number}": found for number, found in enumerate(given.passages)}
    ids = {name: found.id for name, found in names.items()}
    with tempfile.TemporaryDirectory() as folder:
        async with open_shelf(Path(folder), embedder) as shelf:
            books = [whole(name, found.title, found.text) for name, found in names.items()]
            await shelf.put(books)
            await shelf.remember(books)
            found = {
                name: await timed(given, ids, searcher, SearchRequest("", mode, DEPTH))
                for name, (searcher, mode) in _searched(shelf).items()
            }
    return {name: figures(given, *each) for name, each in found.items()}, {
        name: runs for name, (runs, _) in found.items()
    }


def _searched(shelf: Shelf) -> Mapping[str, tuple[Searcher, Mode]]:
    follower = shelf.follower()
    return {"default": (shelf.searcher(), "hybrid"), "graph": (follower, "graph"), "auto": (follower, "auto")}


def _untitled(given: RankingSet) -> RankingSet:
    return replace(given, passages=[replace(passage, title="") for passage in given.passages])


def compared(
    given: RankingSet, ours: Mapping[str, Ranking], published: Mapping[str, Mapping[str, Sequence[str]]]
) -> dict[str, Any]:
    """For each system over the same questions: its share of questions with all gold in the first eight, ours, and the
    difference with its 95 % interval (paired bootstrap)."""
    return {system: _paired(given, ours, runs) for system, runs in published.items()}


def _paired(given: RankingSet, ours: Mapping[str, Ranking], theirs: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    queries = [query for query in given.queries if query in theirs and query in ours]
    mine = np.array([_complete(given, query, list(ours[query])) for query in queries], float)
    other = np.array([_complete(given, query, list(theirs[query])) for query in queries], float)
    drawn = np.random.default_rng(0).integers(0, len(queries), (RESAMPLES, len(queries)))
    low, high = np.percentile((mine - other)[drawn].mean(axis=1), (2.5, 97.5))
    return {
        "queries": len(queries),
        "all_gold@8": round(float(other.mean()), 4),
        "ours": round(float(mine.mean()), 4),
        "difference": round(float((mine - other).mean()), 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
        "only_ours": int((mine > other).sum()),
        "only_theirs": int((mine < other).sum()),
    }


def _complete(given: RankingSet, query: str, ranked: Sequence[str]) -> bool:
    return set(given.qrels[query]) <= set(list(dict.fromkeys(ranked))[:FIRST])


def _show(found: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=120)
    columns = ("ndcg@10", "recall@2", "recall@5", "recall@10", "all_gold@8", "ms_p50", "ms_p95")
    for name, systems in found["datasets"].items():
        table = Table("", *columns, title=f"{name}: {systems['auto']['queries']} queries, {found['embedder']}")
        for system, row in systems.items():
            table.add_row(system, *(str(row[column]) for column in columns))
        console.print(table)
    for name, rivals in found["published"].items():
        table = Table("published run", "all_gold@8", "auto", "difference, 95 %", "only auto", "only it", title=name)
        for rival, row in rivals.items():
            low, high = row["interval"]
            told = (row["all_gold@8"], row["ours"], f"{row['difference']:+.3f} ({low:+.3f} to {high:+.3f})")
            table.add_row(rival, *map(str, told), str(row["only_ours"]), str(row["only_theirs"]))
        console.print(table)
