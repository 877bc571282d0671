"""The servers that stand for models take the time that they were told to."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.servers.ollama import OllamaLike
from tests.servers.speaking import SPEEDS


@pytest.mark.parametrize("model", ["llama3.2:3b", "qwen-plus"])
async def test_as_fast_as_a_model_was_reported_to_be(model: str, ollama_like: OllamaLike) -> None:
    """No faster, that is: a busy machine makes anything slower."""
    ollama_like.like(model)
    ollama_like.script = ["word " * 20]
    body = {"model": "llama3.2:3b", "messages": [{"role": "user", "content": "hello"}]}
    began, first = time.monotonic(), None
    async with (
        httpx.AsyncClient(trust_env=False) as client,
        client.stream("POST", f"{ollama_like.url}/api/chat", json=body) as response,
    ):
        async for _ in response.aiter_lines():
            first = first or time.monotonic() - began
    tokens_per_second, first_token_after = SPEEDS[model]
    assert first is not None
    assert first >= first_token_after
    assert time.monotonic() - began >= first_token_after + 20 / tokens_per_second
