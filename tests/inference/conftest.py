"""The real embedder, and passages to ask about."""

from __future__ import annotations

import pytest

from inference.extractive import Embed
from retrieval.embedding.wordllama import load_wordllama


@pytest.fixture(scope="session")
def embed() -> Embed:
    return load_wordllama().embed
