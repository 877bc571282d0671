"""Our default search beside LangChain's EnsembleRetriever (BM25 and a vector store), same passages, same vectors.

Both run in this process, one caller, one after the other over the same questions. Ours includes its child process and
its relational store; theirs keeps everything in Python's memory. What each takes to take the passages in stands beside.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aegis.errors import ConfigurationError
from evals.bench.datasets import RankingSet, ranking_sets
from evals.bench.retrieval import DEPTH, Ranking, figures, ranked
from evals.bench.shelf import open_shelf, whole
from retrieval.embedding import Embedder, open_embedder
from retrieval.embedding.named import embedder_settings
from retrieval.search import SearchRequest
from retrieval.store import Dense

Ask = Callable[[str], Sequence[str]]


def bench(*, quiet: bool = False, dataset: str = "all", embedder: str = "wordllama") -> dict[str, Any]:
    """Raises NotFound without data sets, ConfigurationError without the extra `bench`."""
    found = asyncio.run(_measure(list(ranking_sets(dataset)), embedder))
    if not quiet:
        _show(found)
    return found


async def _measure(chosen: Sequence[RankingSet], embedder: str) -> dict[str, Any]:
    results = dict[str, Any]()
    async with open_embedder(embedder_settings(embedder)) as opened:
        for each in chosen:
            results[each.name] = {"aegis": await _ours(each, opened), "ensemble": await _theirs(each, opened)}
        name = opened.name
    return {"embedder": name, "datasets": results}


async def _ours(given: RankingSet, embedder: Embedder) -> dict[str, float | int]:
    with tempfile.TemporaryDirectory() as folder:
        async with open_shelf(Path(folder), embedder) as shelf:
            names = {f"passage-{number}": found for number, found in enumerate(given.passages)}
            started = time.perf_counter()
            await shelf.put([whole(name, found.title, found.text) for name, found in names.items()])
            indexed = time.perf_counter() - started
            ids = {name: found.id for name, found in names.items()}
            measured = await ranked(given, ids, shelf.searcher(), SearchRequest("", top_k=DEPTH))
    return {**measured, "indexing_s": round(indexed, 2)}


async def _theirs(given: RankingSet, embedder: Embedder) -> dict[str, float | int]:
    started = time.perf_counter()
    texts = [f"{passage.title}\n{passage.text}" for passage in given.passages]
    vectors = dict(zip(texts, await embedder.embed(texts), strict=True))
    asked = {text: await embedder.embed_query(text) for text in given.queries.values()}
    ask = _ensemble(given, texts, vectors | asked)
    indexed = time.perf_counter() - started
    runs, taken = dict[str, Ranking](), list[float]()
    for identifier, text in given.queries.items():
        begun = time.perf_counter()
        await embedder.embed_query(text)  # its share of the time; the store is given the same vector
        found = ask(text)
        taken.append((time.perf_counter() - begun) * 1000)
        runs[identifier] = {passage: 1.0 / place for place, passage in enumerate(found[:DEPTH], 1)}
    return {**figures(given, runs, taken), "indexing_s": round(indexed, 2)}


def _ensemble(given: RankingSet, texts: Sequence[str], vectors: Mapping[str, Dense]) -> Ask:
    try:
        from langchain_classic.retrievers import EnsembleRetriever
        from langchain_community.retrievers import BM25Retriever
    except ImportError as error:
        raise ConfigurationError("This benchmark needs the extra `bench`: pip install -e '.[bench]'.") from error
    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import InMemoryVectorStore

    class Known(Embeddings):
        """The vectors that ours searches with."""

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [vectors[text].tolist() for text in texts]

        def embed_query(self, text: str) -> list[float]:
            return vectors[text].tolist()

    about = [{"id": passage.id} for passage in given.passages]
    words = BM25Retriever.from_texts(texts, metadatas=about, k=DEPTH)
    meaning = InMemoryVectorStore.from_texts(list(texts), Known(), metadatas=about)
    both = EnsembleRetriever(retrievers=[words, meaning.as_retriever(search_kwargs={"k": DEPTH})], weights=[0.5, 0.5])
    return lambda text: [str(found.metadata["id"]) for found in both.invoke(text)]


def _show(found: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    columns = ("ndcg@10", "recall@5", "recall@10", "mrr", "ms_p50", "ms_p95", "indexing_s")
    table = Table("", "", *columns, title=f"LangChain's EnsembleRetriever beside ours, {found['embedder']}")
    for name, systems in found["datasets"].items():
        for system, measured in systems.items():
            table.add_row(name, system, *(str(measured[column]) for column in columns))
    Console(width=130).print(table)
