"""The passages an answer may cite: numbered the same way for whoever judges, writes or verifies in one run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from aegis.scope import Scope
from agents.state import State
from inference import Passage
from retrieval.chunk import Chunk

PASSAGES = 8
NAMED = 3  # titles that an abstention names


class Chunks(Protocol):
    """The catalogue, as far as answers need it."""

    async def chunks(self, scope: Scope, ids: Sequence[str]) -> list[Chunk]:
        """The chunks with these ids that the scope may see, in the order asked for."""
        ...


async def gather(source: Chunks, scope: Scope, state: State, limit: int = PASSAGES) -> list[tuple[Passage, Chunk]]:
    """Chunks of the hits, then those that facts come from, with markers 1, 2, ... in this order."""
    scores = {hit["chunk_id"]: hit["score"] for hit in reversed(state.get("found", []))}
    order = [hit["chunk_id"] for hit in state.get("found", [])]
    lowest = min(scores.values(), default=0.0)
    for fact in state.get("facts", []):
        scores.setdefault(fact["chunk_id"], lowest)
        order.append(fact["chunk_id"])
    ids = [identifier for identifier in dict.fromkeys(order) if identifier][:limit]
    chunks = await source.chunks(scope, ids) if ids else []
    markers = {identifier: i for i, identifier in enumerate(ids, start=1)}  # the same when a chunk is erased meanwhile
    return [(_passage(markers[chunk.id], chunk, scores[chunk.id]), chunk) for chunk in chunks]


def drawn_on(state: State) -> tuple[str, ...]:
    """Documents whose words the answer was made from, or speaks of: of the passages that were read for it, of facts, of
    what it cites, counts, or names when it abstains."""
    hits = state.get("found", [])
    found = [hit["document_id"] for hit in hits[:PASSAGES]]
    found += [document for fact in state.get("facts", []) for document in fact.get("documents", ())]
    found += [str(citation["document_id"]) for citation in state.get("citations", ())]
    found += state.get("named", [])
    if state.get("abstained"):
        titles = list(dict.fromkeys(hit["title"] for hit in hits if hit["title"]))[:NAMED]
        found += [hit["document_id"] for hit in hits if hit["title"] in titles]
    return tuple(dict.fromkeys(found))


def asked_of(state: State) -> str:
    """The question as it stands without its conversation."""
    return state.get("standalone") or state.get("question", "")


def _passage(marker: int, chunk: Chunk, score: float) -> Passage:
    return Passage(marker, chunk.id, chunk.title, chunk.text, chunk.span.start, score, chunk.heading)
