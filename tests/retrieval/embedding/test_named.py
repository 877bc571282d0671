"""Embedders in one word."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis.errors import InvalidInput
from aegis.settings import OllamaEmbedderSettings, OnnxEmbedderSettings, WordLlamaSettings
from retrieval.embedding.named import embedder_settings, stored_name


def test_a_kind_and_what_it_needs() -> None:
    assert embedder_settings("wordllama") == WordLlamaSettings()
    assert embedder_settings("wordllama:1024") == WordLlamaSettings(dimensions=1024)
    assert embedder_settings("onnx:/models/C:/x") == OnnxEmbedderSettings(folder=Path("/models/C:/x"))
    assert embedder_settings("ollama:bge-m3:latest") == OllamaEmbedderSettings(model="bge-m3:latest")


def test_what_is_not_said_is_as_the_settings_have_it() -> None:
    given = OllamaEmbedderSettings(url="http://127.0.0.1:9", dimensions=384)
    assert embedder_settings("ollama:all-minilm", given) == given.model_copy(update={"model": "all-minilm"})
    assert embedder_settings("wordllama", given) == WordLlamaSettings()


@pytest.mark.parametrize("named", ["", "word2vec", "onnx", "wordllama:many", "wordllama:8"])
def test_what_is_none_is_refused_naming_what_there_is(named: str) -> None:
    with pytest.raises(InvalidInput, match="onnx:FOLDER"):
        embedder_settings(named)


def test_stored_names_differ_by_whatever_changes_vectors() -> None:
    assert stored_name("ollama", "BAAI/bge-m3:latest", 1024) != stored_name("ollama", "BAAI/bge-m3:latest", 512)
    assert stored_name("ollama", "../..", 1).count("/") == 0
