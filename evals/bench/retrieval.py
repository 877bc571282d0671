"""Rankings on public data sets: keyword and vector alone, plain reciprocal ranks, our default, and mentions followed.

`default` reads the first 25 candidates closer, `default+rerank` all of them. Where a cross-encoder is set
(AEGIS_RERANKER__FOLDER), `crossencoder` is the default search with it, given all the time it takes. Where queries
follow up on a conversation (`meta` {"history": ...}), `standalone` is the default search for them as rules word them.
Each passage is one chunk; the searchers, encoders and the engine are the ones that answer questions. Metrics come from
ir-measures. Times are those of whole searches (milliseconds, one caller), the engine's child process included.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aegis.errors import ConfigurationError
from aegis.settings import CrossEncoderSettings, RerankerSettings, Settings
from agents.condense import standalone
from evals.bench.datasets import RankingSet, dataset_folder, lines, ranking_sets, turns_before
from evals.bench.shelf import SCOPE, Shelf, open_shelf, whole
from retrieval.crossencoder import open_reader
from retrieval.embedding import open_embedder
from retrieval.embedding.named import embedder_settings
from retrieval.interaction import Reader
from retrieval.search import Searcher, SearchRequest

DEPTH = 20
PATIENCE = 60.0  # seconds a cross-encoder may take here
Ranking = Mapping[str, float]  # score by passage id


def bench(*, quiet: bool = False, dataset: str = "all", embedder: str = "wordllama") -> dict[str, Any]:
    """Raises NotFound without data sets, ConfigurationError without the extra `bench`."""
    chosen = list(ranking_sets(dataset))
    found = asyncio.run(_measure(chosen, embedder))
    if not quiet:
        _show(found)
    return found


async def _measure(chosen: Sequence[RankingSet], embedder: str) -> dict[str, Any]:
    results = dict[str, Any]()
    settings = Settings()
    async with (
        open_embedder(embedder_settings(embedder, settings.embedder)) as opened,
        open_reader(_patient(settings.reranker)) as reader,
    ):
        for each in chosen:
            with tempfile.TemporaryDirectory() as folder:
                async with open_shelf(Path(folder), opened) as shelf:
                    names = {f"passage-{number}": found for number, found in enumerate(each.passages)}
                    books = [whole(name, found.title, found.text) for name, found in names.items()]
                    await shelf.put(books)
                    await shelf.remember(books)
                    ids = {name: found.id for name, found in names.items()}
                    results[each.name] = await _systems(shelf, each, ids, reader)
        name = opened.name
    return {"embedder": name, "datasets": results}


def _patient(settings: RerankerSettings) -> RerankerSettings:
    return settings.model_copy(update={"seconds": PATIENCE}) if isinstance(settings, CrossEncoderSettings) else settings


async def _systems(
    shelf: Shelf, given: RankingSet, ids: Mapping[str, str], reader: Reader | None = None
) -> dict[str, Any]:
    ours = shelf.searcher()
    systems: list[tuple[str, Searcher, SearchRequest]] = [
        ("keyword", ours, SearchRequest("", "keyword", DEPTH)),
        ("vector", ours, SearchRequest("", "vector", DEPTH)),
        ("rrf", ours, SearchRequest("", top_k=DEPTH, fusion="rrf")),
        ("default", ours, SearchRequest("", top_k=DEPTH)),
        ("default+rerank", ours, SearchRequest("", top_k=DEPTH, rerank=True)),
        ("graph", shelf.follower(), SearchRequest("", "graph", DEPTH)),
    ]
    if reader is not None:
        systems.append(("crossencoder", shelf.searcher(reader), SearchRequest("", top_k=DEPTH)))
    found = {name: await ranked(given, ids, searcher, request) for name, searcher, request in systems}
    if (worded := _standalone(given)) != given.queries:
        found["standalone"] = await ranked(replace(given, queries=worded), ids, ours, SearchRequest("", top_k=DEPTH))
    return found


def _standalone(given: RankingSet) -> Mapping[str, str]:
    before = {str(row["id"]): turns_before(row) for row in lines(dataset_folder(given.name) / "queries.jsonl")}
    return {id: standalone(text, before[id]) if before[id] else text for id, text in given.queries.items()}


async def ranked(
    given: RankingSet, ids: Mapping[str, str], searcher: Searcher, wanted: SearchRequest
) -> dict[str, float | int]:
    """Figures of one system; `ids`: passage by document on the shelf."""
    return figures(given, *await timed(given, ids, searcher, wanted))


async def timed(
    given: RankingSet, ids: Mapping[str, str], searcher: Searcher, wanted: SearchRequest
) -> tuple[dict[str, Ranking], list[float]]:
    """Rankings by query, and the milliseconds of each search."""
    runs, taken = dict[str, Ranking](), list[float]()
    for identifier, text in given.queries.items():
        request = replace(wanted, query=text)
        started = time.perf_counter()
        hits = await searcher.search(SCOPE, request)
        taken.append((time.perf_counter() - started) * 1000)
        # By rank: equal scores keep the order in which they came.
        runs[identifier] = {ids[hit.chunk.document_id]: 1 / (rank + 1) for rank, hit in enumerate(hits)}
    return runs, taken


def figures(given: RankingSet, runs: Mapping[str, Ranking], taken: Sequence[float]) -> dict[str, float | int]:
    """`taken`: milliseconds of each search."""
    p50, p95 = np.percentile(taken, (50, 95))
    return {
        **measured(given.qrels, runs),
        "queries": len(taken),
        "ms_p50": round(float(p50), 2),
        "ms_p95": round(float(p95), 2),
    }


def measured(qrels: Mapping[str, Mapping[str, int]], runs: Mapping[str, Ranking]) -> dict[str, float]:
    """Means over all queries with gold. `all_gold@8`: share of queries with every gold passage in the first eight."""
    try:
        from ir_measures import RR, R, calc_aggregate, iter_calc, nDCG
    except ImportError as error:
        raise ConfigurationError("This benchmark needs the extra `bench`: pip install -e '.[bench]'.") from error
    named = {
        "ndcg@10": nDCG @ 10,
        "recall@2": R @ 2,
        "recall@5": R @ 5,
        "recall@10": R @ 10,
        "mrr": RR,
    }
    means = calc_aggregate(list(named.values()), qrels, runs)
    complete = [found.value >= 1 for found in iter_calc([R @ 8], qrels, runs)]
    return {
        **{name: round(float(means[measure]), 4) for name, measure in named.items()},
        "all_gold@8": round(sum(complete) / max(1, len(qrels)), 4),
    }


def _show(found: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    columns = ("ndcg@10", "recall@2", "recall@5", "recall@10", "mrr", "all_gold@8", "ms_p50")
    for name, systems in found["datasets"].items():
        queries = next(iter(systems.values()))["queries"]
        table = Table("", title=f"{name}: {queries} queries, {found['embedder']}")
        for column in (*columns, "/ better half"):
            table.add_column(column, no_wrap=True)
        better = max(systems["keyword"]["ndcg@10"], systems["vector"]["ndcg@10"]) or 1.0
        for system, figures in systems.items():
            cells = (str(figures[column]) for column in columns)
            table.add_row(system, *cells, f"x{figures['ndcg@10'] / better:.3f}")
        Console(width=120).print(table)
