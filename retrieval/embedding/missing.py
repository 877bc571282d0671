"""Stands for an embedder that an index remembers and that cannot be opened: its dense half is silent until mended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from aegis.errors import ModelUnavailable
from retrieval.store import Dense


@dataclass(frozen=True, slots=True)
class MissingEmbedder:
    name: str
    dimensions: int
    reason: str
    elsewhere: bool = False

    async def embed(self, texts: Sequence[str]) -> Dense:
        self._raise()

    async def embed_query(self, text: str) -> Dense:
        self._raise()

    def _raise(self) -> NoReturn:
        raise ModelUnavailable(f"The embedder {self.name}, which this index was filled with, is missing: {self.reason}")
