"""Embeddings from an Ollama server (`/api/embed`), `bge-m3` unless another model is named."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from aegis.errors import ModelFailed
from aegis.settings import OllamaEmbedderSettings
from inference.ollama import client_options
from inference.premises import on_this_machine
from retrieval.embedding.named import stored_name
from retrieval.embedding.remote import RemoteEmbedder, post


@asynccontextmanager
async def open_ollama(settings: OllamaEmbedderSettings, trusted: Sequence[str] = ()) -> AsyncGenerator[RemoteEmbedder]:
    """`trusted`: hosts that count as this machine."""
    async with httpx.AsyncClient(
        base_url=settings.url, timeout=settings.timeout, **client_options(settings.url)
    ) as client:

        async def ask(texts: Sequence[str]) -> Any:
            body = {"model": settings.model, "input": list(texts), "truncate": True}
            answer = await post(client, "/api/embed", body, f"Fetch it: ollama pull {settings.model}")
            if "embeddings" not in answer:
                raise ModelFailed(f"Ollama at {settings.url} answered without embeddings for {settings.model}.")
            return answer["embeddings"], None

        yield RemoteEmbedder(
            stored_name("ollama", settings.model, settings.dimensions, settings.passage_prefix),
            settings.dimensions,
            ask,
            settings.batch,
            settings.query_prefix,
            settings.passage_prefix,
            sends_to=settings.url,
            elsewhere=not on_this_machine(settings.url, trusted),
        )
