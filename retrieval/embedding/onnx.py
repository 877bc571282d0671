"""Texts embedded by a transformer in ONNX from a folder."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aegis.errors import ConfigurationError
from aegis.settings import OnnxEmbedderSettings
from retrieval.embedding.named import stored_name
from retrieval.embedding.vectors import unit
from retrieval.store import Dense
from retrieval.transformer import Transformer, Use, load_transformer, stated

BATCH = 16  # texts of one run: more gains nothing on a processor
SAMPLE = 2**20  # bytes read at either end of a file to tell it from another
USE = Use("embedding model", "AEGIS_EMBEDDER__FOLDER")
Pooling = Literal["mean", "cls"]


@dataclass(frozen=True, slots=True)
class OnnxEmbedder:
    name: str
    dimensions: int
    transformer: Transformer
    pooling: Pooling
    query_prefix: str = ""
    passage_prefix: str = ""
    elsewhere: bool = False

    async def embed(self, texts: Sequence[str]) -> Dense:
        """Texts of about one length run together, so that little is padding."""
        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            batch = [self.passage_prefix + texts[place] if texts[place].strip() else "" for place in places]
            vectors[places] = await asyncio.to_thread(self.embed_now, batch)
        return vectors

    async def embed_query(self, text: str) -> Dense:
        return (await asyncio.to_thread(self.embed_now, [self.query_prefix + text if text.strip() else ""]))[0]

    def embed_now(self, texts: Sequence[str]) -> Dense:
        """Blank texts are all zeros."""
        whole = "sentence_embedding" in self.transformer.outputs
        vectors = unit(self._pooled(*self.transformer.run(texts, "sentence_embedding" if whole else "")))
        vectors[[not text for text in texts]] = 0
        return vectors

    def _pooled(self, found: Any, mask: Any) -> Any:
        if found.ndim == 2:  # pooled by the model itself
            return found
        if self.pooling == "cls":
            return found[:, 0]
        weights = mask[:, :, None].astype(np.float32)
        return (found * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1)


def load_onnx(settings: OnnxEmbedderSettings) -> OnnxEmbedder:
    """Raises ConfigurationError naming what is missing. Nothing is fetched."""
    loaded = load_transformer(settings.folder, settings.file, settings.max_tokens, settings.threads, USE)
    folder = settings.folder.expanduser().absolute()
    pooling = _pooling(folder) if settings.pooling == "auto" else settings.pooling
    digest = _told_apart(loaded.model, loaded.vocabulary)
    name = stored_name("onnx", folder.name, digest, pooling, settings.passage_prefix)
    return _measured(OnnxEmbedder(name, 0, loaded, pooling, settings.query_prefix, settings.passage_prefix))


def _measured(embedder: OnnxEmbedder) -> OnnxEmbedder:
    """With the width that the model was found to give."""
    try:
        width = embedder.embed_now(["a test"]).shape[1]
    except Exception as error:  # whatever an unfitting graph makes onnxruntime raise
        model = embedder.transformer.model
        raise ConfigurationError(f"The embedding model {model} does not embed a text: {str(error)[:300]}") from error
    return replace(embedder, dimensions=width)


def _pooling(folder: Path) -> Pooling:
    return "cls" if stated(folder / "1_Pooling" / "config.json").get("pooling_mode_cls_token") else "mean"


def _told_apart(*files: Path) -> str:
    """By size and by what stands at either end: a model of 2 GB is not read twice for its name."""
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        with file.open("rb") as opened:
            digest.update(size.to_bytes(8, "little") + opened.read(SAMPLE))
            opened.seek(max(0, size - SAMPLE))
            digest.update(opened.read(SAMPLE))
    return digest.hexdigest()
