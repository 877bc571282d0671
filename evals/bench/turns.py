"""Search over conversation turns: is the turn that holds the evidence among the first five of its conversation?

Needs a data set with `conversations.jsonl` (sessions of turns). Each conversation is a user of ours, each session one
of that user's conversations, and the index and the ranking are those that answer questions about earlier turns. Facts
are learnt from the turns as in a conversation; `no_facts` leaves that out.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from aegis.database import Database, open_database
from aegis.database.migrations import upgrade
from aegis.database.outbox import Outbox
from aegis.scope import Scope
from aegis.settings import SQLiteSettings
from evals.bench.datasets import dataset_folder, lines, ranking_set
from evals.bench.retrieval import Ranking, measured
from memory.conversations import Turn
from memory.conversations.index import TurnIndex
from memory.conversations.store import SqlConversations
from memory.facts.learning import Learner
from memory.facts.tables import facts
from retrieval.embedding import open_embedder
from retrieval.embedding.named import embedder_settings
from retrieval.embedding.wordllama import WordLlamaEmbedder, open_wordllama
from retrieval.interaction import MaxSim
from retrieval.keywords import KeywordEncoder

DATASET = "locomo"
DEPTH = 20
BATCH = 500
AGED = datetime(2026, 1, 1, tzinfo=UTC)


def bench(
    *, quiet: bool = False, dataset: str = DATASET, embedder: str = "wordllama", no_facts: bool = False
) -> dict[str, Any]:
    """Raises NotFound without the data set, ConfigurationError without the extra `bench`."""
    found = asyncio.run(_measure(dataset, embedder, learning=not no_facts))
    if not quiet:
        _show(found)
    return found


async def _measure(dataset: str, embedder: str, *, learning: bool) -> dict[str, Any]:
    told = list(_turns(dataset_folder(dataset)))
    questions = _questions(dataset)
    with tempfile.TemporaryDirectory() as folder:
        async with (
            open_embedder(embedder_settings(embedder)) as opened,
            open_database(SQLiteSettings(), Path(folder)) as database,
        ):
            await upgrade(database)
            store = SqlConversations(database, lambda: datetime.now(UTC))
            static = opened if isinstance(opened, WordLlamaEmbedder) else open_wordllama()
            index = TurnIndex(
                database, store, opened, KeywordEncoder(), lambda: datetime.now(UTC), MaxSim(static.word_vectors)
            )
            for scope, turn in told:
                await store.finish(scope, turn)
            learnt = await _learn(database) if learning else 0
            await index.catch_up()
            runs, taken = dict[str, Ranking](), list[float]()
            for identifier, (user, text, _) in questions.items():
                started = time.perf_counter()
                hits = await index.search(Scope(user), text, limit=DEPTH)
                taken.append((time.perf_counter() - started) * 1000)
                runs[identifier] = {hit.id: hit.score for hit in hits}
            name = opened.name
    return {"embedder": name, "facts": learnt, "datasets": {dataset: _figures(dataset, questions, runs, taken)}}


async def _learn(database: Database) -> int:
    """Read every turn as the background queue does; how many facts that gives."""
    outbox, after = Outbox(database), 0
    learner = Learner(database, outbox)
    while rows := await outbox.pending(learner.topics, after, BATCH):
        await learner.apply(rows)
        after = rows[-1].seq
    async with database.read() as connection:
        return int((await connection.execute(select(func.count()).select_from(facts))).scalar_one())


def _figures(
    dataset: str, questions: Mapping[str, tuple[str, str, str]], runs: Mapping[str, Ranking], taken: Sequence[float]
) -> dict[str, Any]:
    qrels = ranking_set(dataset).qrels
    groups = defaultdict[str, list[str]](list)
    for identifier, (_, _, category) in questions.items():
        groups["all"].append(identifier)
        groups[category].append(identifier)
    found = dict[str, Any]()
    for name, ids in groups.items():
        figures = measured({each: qrels[each] for each in ids}, {each: runs[each] for each in ids})
        found[name] = {**figures, "queries": len(ids)}
    found["all"]["ms_p50"] = round(sorted(taken)[len(taken) // 2], 2)
    return found


def _turns(folder: Path) -> Iterator[tuple[Scope, Turn]]:
    for talk in lines(folder / "conversations.jsonl"):
        for session in talk["sessions"]:
            for turn in session["turns"]:
                caption = f" [image: {turn['caption']}]" if turn.get("caption") else ""
                said = f"{turn['speaker']}: {turn['text']}{caption}"
                name = f"{talk['id']}/{turn['id']}"
                conversation = f"{talk['id']}/{session['id']}"
                yield Scope(talk["id"]), Turn(name, conversation, said, state="done", created_at=AGED)


def _questions(dataset: str) -> dict[str, tuple[str, str, str]]:
    """User, text and category of each question whose evidence is known."""
    wanted = ranking_set(dataset).queries
    rows = {str(row["id"]): row for row in lines(dataset_folder(dataset) / "queries.jsonl")}
    about = {each: rows[each].get("meta") or {} for each in wanted}
    return {each: (about[each]["conv"], text, about[each].get("category", "other")) for each, text in wanted.items()}


def _show(found: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    for name, groups in found["datasets"].items():
        columns = ("queries", "recall@5", "recall@10", "ndcg@10", "mrr")
        table = Table("", *columns, title=f"{name}: turns within their conversation, {found['embedder']}")
        for group, figures in groups.items():
            table.add_row(group, *(str(figures[column]) for column in columns))
        Console(width=100).print(table)
        print(f"{found['facts']} facts were learnt. A search takes {groups['all']['ms_p50']} ms (median).")  # noqa: T201  # a command's own output
