"""The looks that `/health/ready` takes at what `open_services` opened."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from aegis.database.outbox import Outbox
from api.health import Check, Finding
from inference.ollama_servers import ModelStatus
from retrieval.projection import Target
from retrieval.store import PointFilter, Sparse, VectorQuery, VectorStore

# A real query that can see nothing: it goes all the way to the engine and back.
_NOTHING = VectorQuery(PointFilter(frozenset({"\N{EM DASH}"}), 0), 1, sparse=Sparse((1,), (1.0,)))

_HELD = {"vectors": "chunks", "facts": "facts and entities"}  # by the first word of a projection's name


class Store(Protocol):
    async def ping(self) -> None: ...


class Progressing(Protocol):
    """A projection: `failure` is why its last attempt failed, `progress` how far a rebuild is."""

    @property
    def name(self) -> str: ...
    @property
    def failure(self) -> str | None: ...
    @property
    def progress(self) -> tuple[int, int] | None: ...
    @property
    def target(self) -> Target: ...
    async def applied(self) -> int: ...


class Standing(Protocol):
    """Which projections there are; another index may have taken a place since the last look."""

    @property
    def all(self) -> Sequence[Progressing]: ...


class Indexing(Protocol):
    async def indexing(self) -> tuple[int, int] | None: ...


class Model(Protocol):
    def status(self) -> ModelStatus: ...


def checks_of(services: Any) -> tuple[Check, ...]:
    """The relational store and the samples are required; without the rest answers are poorer, slower or older."""
    found = [
        Check("database", True, lambda: database(services.database)),
        Check("documents", True, lambda: documents(services.samples)),
        Check("vectors", False, lambda: vectors(services.vectors, services.projections.all)),
        Check("turns", False, lambda: turns(services.conversations)),
        Check("model", False, lambda: model(services.writer)),
    ]
    if hasattr(services.neighbourhoods, "ping"):
        found.append(Check("graph", False, lambda: answering(services.neighbourhoods)))
    if hasattr(services.signals, "ping"):
        found.append(Check("redis", False, lambda: answering(services.signals)))
    for place, one in enumerate(services.projections.all):
        label = one.name.partition(":")[0]
        found.append(
            Check(f"projection {label}", False, partial(projection, services.projections, place, services.outbox))
        )
    return tuple(found)


async def database(store: Store) -> Finding:
    await store.ping()
    return Finding()


async def documents(samples: asyncio.Task[None]) -> Finding:
    """On the very first start the first question has to wait for the samples."""
    return Finding() if samples.done() else Finding("starting", "The sample documents are being taken in.")


async def vectors(store: VectorStore, projections: Sequence[Progressing]) -> Finding:
    """Of documents, and of facts, which stand in an index of their own."""
    await store.query(_NOTHING)
    for one in projections:
        held = _HELD.get(one.name.partition(":")[0])
        if held is not None and one.progress is not None:
            return _rebuilding(one.progress, held)
    return Finding()


async def turns(conversations: Indexing) -> Finding:
    """Their index is kept in the relational store and made anew turn by turn, when another encoder is used."""
    progress = await conversations.indexing()
    return Finding() if progress is None else _rebuilding(progress, "turns")


def _rebuilding(progress: tuple[int, int], what: str) -> Finding:
    done, total = progress
    return Finding("rebuilding", f"{done} of {total} {what}", {"done": done, "total": total})


async def answering(backend: Store) -> Finding:
    await backend.ping()
    return Finding()


async def model(writer: Model) -> Finding:
    status = writer.status()
    detail = {"address": status.address, "model": status.used, "models": list(status.models)}
    if status.used is None:
        return Finding("missing", status.advice or "No language model answers.", detail)
    return Finding("up", None, detail)


async def projection(projections: Standing, place: int, outbox: Outbox) -> Finding:
    one = projections.all[place]
    backlog = {"backlog": max(0, await outbox.last(one.target.topics) - await one.applied())}
    if one.failure:
        return Finding("down", one.failure[:300], backlog)
    return Finding("up", None, backlog) if one.progress is None else _rebuilding(one.progress, "rows")
