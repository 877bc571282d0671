"""Passages that may answer: one search. An index out of reach is noted, and the run goes on without it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

from langgraph.runtime import Runtime

from aegis.errors import IndexUnavailable, InvalidInput
from aegis.scope import Scope
from agents.state import Context, Found, State
from retrieval.catalogue import DocumentFilter
from retrieval.search import Hit, Mode, Searcher, SearchRequest

INDEX_NOTE = "The search index was out of reach, so documents could not be searched."
WORDS_NOTE = "Searched by words only: this conversation stays here, and the embedder does not."
FILTERS = ("collection", "source", "type", "tag", "date_from", "date_to")


Stays = Callable[[Scope, str], Awaitable[bool]]
"""Whether nothing of this conversation may leave this machine, not even to an embedder."""


async def may_be_seen(scope: Scope, conversation_id: str) -> bool:
    return False


@dataclass(frozen=True)
class Retrieve:
    """Adds to `found`. A hybrid search also follows mentions, where the question needs several hops."""

    searcher: Searcher
    stays: Stays = may_be_seen

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        context = runtime.context
        request = await kept_here(self.stays, context, search_request(context, state, _mode(context, state)))
        try:
            hits = await self.searcher.search(context.scope, request)
        except IndexUnavailable:
            return {"notes": [INDEX_NOTE]}
        return {"found": [found(hit) for hit in hits], **({"notes": [WORDS_NOTE]} if request.stays else {})}


async def kept_here(stays: Stays, context: Context, request: SearchRequest) -> SearchRequest:
    """The same, marked where its words must not leave this machine."""
    kept = context.stays or await stays(context.scope, context.conversation_id)
    return replace(request, stays=True) if kept else request


def _mode(context: Context, state: State) -> str:
    """Where the graph is consulted beside this, that follows the mentions."""
    return "auto" if context.mode == "hybrid" and state.get("route") != "relate" else context.mode


def search_request(context: Context, state: State, mode: str | None = None) -> SearchRequest:
    """What this run searches for: at its own epoch, within its filters."""
    return SearchRequest(
        query=state.get("query") or state["standalone"],
        mode=cast(Mode, mode or context.mode),
        top_k=context.top_k,
        filter=document_filter(context.filters),
        collection=context.filters.get("collection"),
        as_of=moment(context.as_of, "as_of"),
        known_at=state.get("epoch", context.known_at),
    )


def found(hit: Hit) -> Found:
    return Found(
        chunk_id=hit.chunk.id,
        document_id=hit.chunk.document_id,
        title=hit.chunk.title,
        score=round(float(hit.score), 6),
        via=list(hit.via),
    )


def document_filter(filters: Mapping[str, Any]) -> DocumentFilter:
    """From JSON: {collection, source, type, tag: [...], date_from, date_to}, all optional. Raises InvalidInput."""
    unknown = sorted(set(filters) - set(FILTERS))
    if unknown:
        raise InvalidInput(f"There is no filter {unknown[0]!r}; there are {', '.join(FILTERS)}.", filter=unknown[0])
    tags = filters.get("tag") or ()
    return DocumentFilter(
        source=filters.get("source"),
        type=filters.get("type"),
        tags=(tags,) if isinstance(tags, str) else tuple(tags),
        date_from=moment(filters.get("date_from"), "date_from"),
        date_to=moment(filters.get("date_to"), "date_to"),
    )


def moment(value: str | datetime | None, name: str) -> datetime | None:
    """An ISO 8601 date or time; without a zone it is UTC. Raises InvalidInput."""
    if value is None or value == "":
        return None
    try:
        read = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name} is {value!r}; write a date such as 2026-03-01 or 2026-03-01T12:00Z.") from error
    return read if read.tzinfo else read.replace(tzinfo=UTC)
