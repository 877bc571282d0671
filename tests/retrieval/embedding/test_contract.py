"""What every embedder keeps: unit length, the stated width, one vector a text in order, the same alone and together."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from aegis.errors import ModelUnavailable
from aegis.settings import (
    EmbedderSettings,
    OllamaEmbedderSettings,
    OnnxEmbedderSettings,
    OpenAIEmbedderSettings,
)
from retrieval.embedding import Embedder, open_embedder
from retrieval.embedding.wordllama import open_wordllama
from tests.retrieval.embedding.server import WIDTH, EmbeddingServer, running_embedding_server
from tests.retrieval.embedding.tiny_onnx import write_tiny_onnx
from tests.servers.ollama_real import MODEL


@pytest.fixture(scope="module")
def server() -> Generator[EmbeddingServer]:
    with running_embedding_server() as running:
        yield running


@cache
def _wordllama(dimensions: int) -> Embedder:
    return open_wordllama(dimensions)


@pytest.fixture(
    params=["wordllama", "wordllama-1024", "onnx", "ollama", "openai", pytest.param("real", marks=pytest.mark.servers)]
)
async def embedder(request: pytest.FixtureRequest, server: EmbeddingServer, tmp_path: Path) -> AsyncGenerator[Embedder]:
    kind: str = request.param
    if kind.startswith("wordllama"):
        yield _wordllama(1024 if kind.endswith("1024") else 256)
        return
    url = server.url if kind != "real" else request.getfixturevalue("ollama_url")
    made: dict[str, EmbedderSettings] = {
        "onnx": OnnxEmbedderSettings(folder=tmp_path / "tiny"),
        "ollama": OllamaEmbedderSettings(url=url, dimensions=WIDTH, batch=7),
        "openai": OpenAIEmbedderSettings(url=f"{url}/v1", dimensions=WIDTH, batch=7),
        "real": OllamaEmbedderSettings(url=url, model=MODEL, dimensions=64),
    }
    write_tiny_onnx(tmp_path / "tiny")
    async with open_embedder(made[kind]) as opened:
        yield opened


async def test_vectors_have_unit_length_and_the_stated_width(embedder: Embedder) -> None:
    vectors = await embedder.embed([f"sentence number {n} about rivers" for n in range(50)])
    assert vectors.shape == (50, embedder.dimensions)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


async def test_alone_and_in_a_batch_are_the_same(embedder: Embedder) -> None:
    texts = ["short", "a much longer sentence about the migration of birds " * 5, "number"] * 9
    together = await embedder.embed(texts)
    for text, vector in zip(texts[:3], together[:3], strict=True):
        assert np.allclose((await embedder.embed([text]))[0], vector, atol=1e-4)
    assert np.allclose(together[:3], together[-3:], atol=1e-4)


async def test_a_question_is_embedded_like_a_passage_where_no_prefix_is_set(embedder: Embedder) -> None:
    query = await embedder.embed_query("rivers")
    assert query.shape == (embedder.dimensions,)
    assert np.allclose(query, (await embedder.embed(["rivers"]))[0], atol=1e-5)


async def test_no_texts_give_no_vectors(embedder: Embedder) -> None:
    assert (await embedder.embed([])).shape == (0, embedder.dimensions)


@pytest.mark.parametrize("text", ["", " ", "\n", "\U0001f408", "x" * 50_000, "cat " * 5_000])
async def test_odd_texts_give_finite_vectors(request: pytest.FixtureRequest, embedder: Embedder, text: str) -> None:
    if request.node.callspec.params["embedder"] == "real" and len(text) > 10_000:
        request.applymarker(
            pytest.mark.xfail(raises=ModelUnavailable, reason="Ollama answers 500 beyond a tiny model's window")
        )
    vectors = await embedder.embed([text, "cat"])
    assert np.isfinite(vectors).all()
    assert np.linalg.norm(vectors[1]) == pytest.approx(1, abs=1e-4)


async def test_the_name_is_one_that_a_folder_can_have(embedder: Embedder) -> None:
    assert embedder.name.replace("-", "").replace(".", "").isalnum()
    assert len(embedder.name) <= 80
