"""Embeddings from any server that speaks OpenAI's `/embeddings` (OpenAI, vLLM, TEI, llama.cpp, LM Studio ...)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from aegis.errors import ModelFailed
from aegis.settings import OpenAIEmbedderSettings
from inference.ollama import client_options
from inference.paying import Meter
from inference.premises import on_this_machine
from retrieval.embedding.named import stored_name
from retrieval.embedding.remote import RemoteEmbedder, post


@asynccontextmanager
async def open_openai(
    settings: OpenAIEmbedderSettings, meter: Meter | None = None, trusted: Sequence[str] = ()
) -> AsyncGenerator[RemoteEmbedder]:
    """`meter`: what each request is held against where it is paid. `trusted`: hosts that count as this machine."""
    key = settings.api_key.get_secret_value() if settings.api_key else ""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(
        base_url=settings.url, timeout=settings.timeout, headers=headers, **client_options(settings.url)
    ) as client:

        async def ask(texts: Sequence[str]) -> Any:
            body = {"model": settings.model, "input": list(texts), "encoding_format": "float"}
            answer = await post(client, "embeddings", body, f"Is AEGIS_EMBEDDER__MODEL={settings.model} right?")
            return _in_order(answer, settings.url), _tokens(answer)

        yield RemoteEmbedder(
            stored_name("openai", settings.model, settings.dimensions, settings.passage_prefix),
            settings.dimensions,
            ask,
            settings.batch,
            settings.query_prefix,
            settings.passage_prefix,
            sends_to=settings.url,
            meter=meter,
            elsewhere=meter is not None or not on_this_machine(settings.url, trusted),
        )


def _tokens(answer: dict[str, Any]) -> int | None:
    """What the server counted; None where it does not, and then the most counts."""
    usage = answer.get("usage")
    told = usage.get("prompt_tokens") if isinstance(usage, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return told if isinstance(told, int) and told >= 0 else None


def _in_order(answer: dict[str, Any], url: str) -> list[Any]:
    """Entries say which text they belong to, and may come in any order."""
    try:
        entries = sorted(answer["data"], key=lambda entry: int(entry["index"]))
        return [entry["embedding"] for entry in entries]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFailed(f"The embedding server at {url} answered without `data` as OpenAI has it.") from error
