"""What reading by a model will take, from a sample: Graphiti runs for real, and a stand-in for the model counts.

The stand-in answers with what rules find in the chunk, so that later calls have something to work on. It costs nothing
and nothing is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aegis.scope import Span
from inference import Piece, WriteRequest
from inference.prices import NANO, Price
from inference.tokens import careful
from memory.extraction import Extract, RuleExtractor
from memory.reading.queue import Reading
from retrieval.loaders.document import LoadedDocument
from retrieval.splitting import Piece as ChunkPiece

SAMPLE = 6  # chunks


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of all `chunks`, by a sample of `sampled`. `cost` in US dollars."""

    chunks: int
    sampled: int
    calls: int
    tokens_in: int
    tokens_out: int
    cost: float


class Rehearsal:
    """`inference.Model` that answers without one, and counts."""

    def __init__(self, reading: Reading) -> None:
        self.calls = self.tokens_in = self.tokens_out = 0
        self._extract = _drawn(reading)

    async def ask(self, request: WriteRequest) -> Piece:
        text = json.dumps(self._answer(dict(request.schema or {})))
        read, written = sum(careful(message.text) for message in request.messages), careful(text)
        self.calls, self.tokens_in, self.tokens_out = self.calls + 1, self.tokens_in + read, self.tokens_out + written
        return Piece(text, "rehearsal", read, written)

    def _answer(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        names = {found.key: found.name for found in self._extract.entities}
        if schema.get("title") == "ExtractedEntities":
            return {"extracted_entities": [{"name": name, "entity_type_id": 0} for name in names.values()]}
        if schema.get("title") == "ExtractedEdges":
            return {
                "edges": [
                    {"source_entity_name": names[fact.source], "target_entity_name": names[fact.target]}
                    | {"relation_type": fact.relation, "fact": fact.text, "valid_at": None, "invalid_at": None}
                    for fact in self._extract.facts
                ]
            }
        return {name: [] for name in schema.get("required", ())}


def scaled(rehearsals: Sequence[Rehearsal], chunks: int, price: Price) -> Estimate:
    share = chunks / max(1, len(rehearsals))
    calls, read, written = (
        round(sum(getattr(each, name) for each in rehearsals) * share) for name in ("calls", "tokens_in", "tokens_out")
    )
    return Estimate(chunks, len(rehearsals), calls, read, written, price.nano(read, written) / NANO)


def _drawn(reading: Reading) -> Extract:
    piece = ChunkPiece(Span(0, len(reading.text)), reading.text, None, None)
    return RuleExtractor().extract(LoadedDocument(reading.text, reading.title, "text/plain"), [piece])[0]
