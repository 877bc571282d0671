"""Text -> dense vectors: the port, and which provider a setting opens. One file per provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from aegis.settings import (
    EmbedderSettings,
    OllamaEmbedderSettings,
    OnnxEmbedderSettings,
    OpenAIEmbedderSettings,
)
from inference.paying import Meter
from retrieval.store import Dense


class Embedder(Protocol):
    """Vectors have unit length, so their dot product is the cosine; a text that says nothing is all zeros.

    Raises ModelUnavailable when a server does not answer, ModelFailed when it refuses, ConfigurationError when its
    vectors are not as wide as stated.
    """

    @property
    def name(self) -> str:
        """Identifies weights and width; stored vectors of another name are never compared with these."""
        ...

    @property
    def dimensions(self) -> int: ...

    @property
    def elsewhere(self) -> bool:
        """Whether texts leave this machine, or are paid for: then it is given nothing that is marked private."""
        ...

    async def embed(self, texts: Sequence[str]) -> Dense:
        """Passages. Shape (len(texts), dimensions), float32."""
        ...

    async def embed_query(self, text: str) -> Dense:
        """A question, which some models mark by a prefix. Shape (dimensions,)."""
        ...


Metered = Callable[[EmbedderSettings], Meter | None]
"""What an embedder's requests are held against, None where they cost nothing. Raises ConfigurationError where nobody
has said what it costs."""


def unmetered(settings: EmbedderSettings) -> None:
    return None


@asynccontextmanager
async def open_embedder(
    settings: EmbedderSettings, metered: Metered = unmetered, trusted: Sequence[str] = ()
) -> AsyncGenerator[Embedder]:
    """`trusted`: hosts that count as this machine. Raises ConfigurationError when a model, a library or a price is
    missing. A server that is away raises only when asked."""
    if isinstance(settings, OnnxEmbedderSettings):
        from retrieval.embedding.onnx import load_onnx

        yield await asyncio.to_thread(load_onnx, settings)
    elif isinstance(settings, OllamaEmbedderSettings):
        from retrieval.embedding.ollama import open_ollama

        async with open_ollama(settings, trusted) as served:
            yield served
    elif isinstance(settings, OpenAIEmbedderSettings):
        from retrieval.embedding.openai import open_openai

        async with open_openai(settings, metered(settings), trusted) as served:
            yield served
    else:
        from retrieval.embedding.wordllama import open_wordllama

        yield await asyncio.to_thread(open_wordllama, settings.dimensions)
