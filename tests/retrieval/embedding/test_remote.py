"""Embedding servers: batches, and mistrust of what comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator

import numpy as np
import pytest
from pydantic import SecretStr

from aegis.errors import AegisError, ConfigurationError, ModelFailed, ModelUnavailable
from aegis.settings import OllamaEmbedderSettings, OpenAIEmbedderSettings
from retrieval.embedding import Embedder, open_embedder, remote
from tests.retrieval.embedding.server import WIDTH, EmbeddingServer, Fault, running_embedding_server


@pytest.fixture(scope="module")
def running() -> Generator[EmbeddingServer]:
    with running_embedding_server() as server:
        yield server


@pytest.fixture
def server(running: EmbeddingServer) -> EmbeddingServer:
    running.renew()
    return running


@pytest.fixture(params=["ollama", "openai"])
async def embedder(request: pytest.FixtureRequest, server: EmbeddingServer) -> AsyncGenerator[Embedder]:
    ollama = OllamaEmbedderSettings(url=server.url, dimensions=WIDTH, batch=10, timeout=0.3)
    openai = OpenAIEmbedderSettings(
        url=f"{server.url}/v1", dimensions=WIDTH, batch=10, timeout=0.3, api_key=SecretStr("sk-test")
    )
    async with open_embedder(ollama if request.param == "ollama" else openai) as opened:
        yield opened


async def test_texts_go_in_batches_and_come_back_in_order(embedder: Embedder, server: EmbeddingServer) -> None:
    vectors = await embedder.embed([f"word{n}" for n in range(35)])
    assert sorted(server.sizes) == [5, 10, 10, 10]
    for n in (0, 9, 10, 34):
        assert np.allclose(vectors[n], await embedder.embed_query(f"word{n}"))


async def test_blank_texts_are_not_sent(embedder: Embedder, server: EmbeddingServer) -> None:
    vectors = await embedder.embed(["", "cat", "  "])
    assert server.texts == ["cat"]
    assert np.linalg.norm(vectors, axis=1).round(3).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("error_500", ModelUnavailable),
        ("busy_429", ModelUnavailable),
        ("hang", ModelUnavailable),
        ("refused_400", ModelFailed),
        ("garbage", ModelFailed),
        ("no_data", ModelFailed),
        ("nan", ModelFailed),
        ("short", ModelFailed),
        ("wide", ConfigurationError),
    ],
)
async def test_faults_become_our_errors(
    embedder: Embedder, server: EmbeddingServer, fault: Fault, error: type[AegisError]
) -> None:
    server.fault = fault
    with pytest.raises(error) as raised:
        await embedder.embed(["cat"])
    assert "sk-test" not in raised.value.message
    if error is ConfigurationError:
        assert f"AEGIS_EMBEDDER__DIMENSIONS={WIDTH + 1}" in raised.value.message
    server.fault = ""
    assert (await embedder.embed(["cat"])).shape == (1, WIDTH)


async def test_a_model_that_is_not_there_says_what_to_do(embedder: Embedder, server: EmbeddingServer) -> None:
    server.models = ()
    with pytest.raises(ModelUnavailable, match=r"ollama pull bge-m3|AEGIS_EMBEDDER__MODEL"):
        await embedder.embed(["cat"])


async def test_questions_do_not_wait_for_a_server_that_was_away_just_now(
    embedder: Embedder, server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "QUERY_SECONDS", 0.6)
    monkeypatch.setattr(remote, "AWAY_SECONDS", 1.0)
    server.fault = "hang"
    with pytest.raises(ModelUnavailable):
        await embedder.embed_query("cat")
    begun = time.monotonic()
    with pytest.raises(ModelUnavailable):
        await embedder.embed_query("cat")
    assert time.monotonic() - begun < 0.5
    server.fault = ""
    await asyncio.sleep(1.0)
    assert np.linalg.norm(await embedder.embed_query("cat")) == pytest.approx(1)
