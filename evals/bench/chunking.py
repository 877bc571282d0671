"""Chunkers by gold character spans: the share of what answers a question that fits into a budget of characters.

Every chunker's chunks go through the same search (our default, all documents together); the best chunks fill the
budget, the last one cut where it ends. Rivals: fixed windows, and LangChain's recursive splitter.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aegis.errors import ConfigurationError
from aegis.scope import Span
from aegis.settings import RetrievalSettings, Settings
from evals.bench.datasets import dataset_folder, lines
from evals.bench.shelf import SCOPE, Book, open_shelf
from retrieval.embedding import Embedder, open_embedder
from retrieval.embedding.named import embedder_settings
from retrieval.loaders import LoadedDocument
from retrieval.search import Hit, SearchRequest
from retrieval.splitting import Piece, split

DATASET = "chunking_eval"
BUDGETS = (2_000, 4_000, 8_000)
SIZES = (400, 800, 1_200)
DEPTH = 60
Chunker = Callable[[LoadedDocument], Sequence[Piece]]


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    gold: Sequence[tuple[str, Span]]  # document and span


def bench(*, quiet: bool = False, embedder: str = "wordllama") -> dict[str, Any]:
    """Raises NotFound without the data set, ConfigurationError without the extra `bench`."""
    folder = dataset_folder(DATASET)
    documents = [_document(row) for row in lines(folder / "docs.jsonl")]
    questions = _questions(folder)
    found = asyncio.run(_measure(documents, questions, embedder))
    if not quiet:
        _show(found)
    return found


async def _measure(documents: Sequence[LoadedDocument], questions: Sequence[Question], embedder: str) -> dict[str, Any]:
    async with open_embedder(embedder_settings(embedder, Settings().embedder)) as opened:
        systems = {name: await _system(documents, questions, cut, opened) for name, cut in _chunkers().items()}
    return {"embedder": opened.name, "datasets": {DATASET: systems}}


def _chunkers() -> dict[str, Chunker]:
    tokens = RetrievalSettings().chunk_tokens
    return {
        "default": lambda document: split(document, tokens),
        **{f"fixed {size}": _fixed(size) for size in SIZES},
        **{f"recursive {size}": _recursive(size) for size in SIZES},
    }


async def _system(
    documents: Sequence[LoadedDocument], questions: Sequence[Question], cut: Chunker, embedder: Embedder
) -> dict[str, float | int]:
    books = [Book(each.title, each.title, each.text, cut(each)) for each in documents]
    sizes = [len(piece.text) for book in books for piece in book.pieces]
    recalls: dict[int, list[float]] = {budget: [] for budget in BUDGETS}
    with tempfile.TemporaryDirectory() as folder:
        async with open_shelf(Path(folder), embedder) as shelf:
            await shelf.put(books)
            searcher = shelf.searcher()
            for question in questions:
                hits = await searcher.search(SCOPE, SearchRequest(question.text, top_k=DEPTH))
                for budget in BUDGETS:
                    recalls[budget].append(recall(question.gold, taken(hits, budget)))
    means = {f"recall@{budget}": round(sum(each) / len(each), 4) for budget, each in recalls.items()}
    return {**means, "chunks": len(sizes), "mean_chars": round(sum(sizes) / len(sizes))}


def taken(hits: Iterable[Hit], budget: int) -> list[tuple[str, Span]]:
    """Spans of the best hits, by document, until the budget is full."""
    found, left = list[tuple[str, Span]](), budget
    for hit in hits:
        length = min(left, hit.span.end - hit.span.start)
        if length <= 0:
            break
        found.append((hit.chunk.document_id, Span(hit.span.start, hit.span.start + length)))
        left -= length
    return found


def recall(gold: Sequence[tuple[str, Span]], got: Sequence[tuple[str, Span]]) -> float:
    """Share of the gold characters that were got; overlapping spans count once."""
    wanted = {(name, place) for name, span in gold for place in range(span.start, span.end)}
    found = {(name, place) for name, span in got for place in range(span.start, span.end)}
    return len(wanted & found) / len(wanted)


def _document(row: Mapping[str, Any]) -> LoadedDocument:
    return LoadedDocument(text=row["text"], title=str(row["id"]), media_type="text/plain")


def _questions(folder: Path) -> list[Question]:
    gold = dict[str, list[tuple[str, Span]]]()
    for line in (folder / "spans.tsv").read_text(encoding="utf-8").splitlines():
        query, name, start, end = line.split("\t")
        gold.setdefault(query, []).append((name, Span(int(start), int(end))))
    asked = lines(folder / "queries.jsonl")
    return [Question(row["text"], gold[row["id"]]) for row in asked if row["id"] in gold]


def _fixed(size: int) -> Chunker:
    def cut(document: LoadedDocument) -> list[Piece]:
        return [_piece(document, start, start + size) for start in range(0, len(document.text), size)]

    return cut


def _recursive(size: int) -> Chunker:
    def cut(document: LoadedDocument) -> list[Piece]:
        try:
            from langchain_text_splitters import RecursiveCharacterTextSplitter
        except ImportError as error:
            raise ConfigurationError("This benchmark needs the extra `bench`: pip install -e '.[bench]'.") from error
        splitter = RecursiveCharacterTextSplitter(chunk_size=size, chunk_overlap=0, add_start_index=True)
        made = splitter.create_documents([document.text])
        starts = [(each.metadata["start_index"], len(each.page_content)) for each in made]
        return [_piece(document, start, start + length) for start, length in starts]

    return cut


def _piece(document: LoadedDocument, start: int, end: int) -> Piece:
    end = min(end, len(document.text))
    return Piece(Span(start, end), document.text[start:end], None, None)


def _show(found: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    systems = found["datasets"][DATASET]
    columns = [f"recall@{budget}" for budget in BUDGETS]
    table = Table(
        "", *columns, "chunks", "mean chars", "/ best rival at 4,000", title=f"{DATASET}, {found['embedder']}"
    )
    rival = max(figures["recall@4000"] for name, figures in systems.items() if name != "default")
    for name, figures in systems.items():
        cells = (str(figures[column]) for column in (*columns, "chunks", "mean_chars"))
        table.add_row(name, *cells, f"x{figures['recall@4000'] / rival:.3f}")
    Console(width=120).print(table)
