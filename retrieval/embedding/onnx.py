"""A transformer in ONNX from a folder, laid out as sentence-transformers and fastembed lay theirs out."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aegis.errors import ConfigurationError
from aegis.settings import OnnxEmbedderSettings
from retrieval.embedding.named import stored_name
from retrieval.embedding.vectors import unit
from retrieval.store import Dense

BATCH = 16  # texts of one run: more gains nothing on a processor
PLACES = ("model.onnx", "onnx/model.onnx", "model_optimized.onnx")
PADS = ("[PAD]", "<pad>")
SAMPLE = 2**20  # bytes read at either end of a file to tell it from another
Pooling = Literal["mean", "cls"]


@dataclass(frozen=True, slots=True)
class OnnxEmbedder:
    """`session` and `tokenizer` are onnxruntime's and tokenizers' own; both may be used by several threads."""

    name: str
    dimensions: int
    session: Any
    tokenizer: Any
    pooling: Pooling
    pad: int
    query_prefix: str = ""
    passage_prefix: str = ""

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
        encoded = self.tokenizer.encode_batch(list(texts))
        width = max(len(each.ids) for each in encoded)
        ids = np.full((len(texts), width), self.pad, np.int64)
        mask = np.zeros((len(texts), width), np.int64)
        for row, each in enumerate(encoded):
            ids[row, : len(each.ids)] = each.ids
            mask[row, : len(each.ids)] = 1
        vectors = unit(self._pooled(self._run(ids, mask), mask))
        vectors[[not text for text in texts]] = 0
        return vectors

    def _run(self, ids: Any, mask: Any) -> Any:
        known = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        wanted = [each.name for each in self.session.get_inputs()]
        output = _output(self.session)
        return self.session.run([output], {name: known[name] for name in wanted})[0]

    def _pooled(self, found: Any, mask: Any) -> Any:
        if found.ndim == 2:  # pooled by the model itself
            return found
        if self.pooling == "cls":
            return found[:, 0]
        weights = mask[:, :, None].astype(np.float32)
        return (found * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1)


def load_onnx(settings: OnnxEmbedderSettings) -> OnnxEmbedder:
    """Raises ConfigurationError naming what is missing. Nothing is fetched."""
    try:
        import onnxruntime
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ConfigurationError("The embedder `onnx` needs the extra `onnx`: pip install 'aegisrag[onnx]'.") from error
    folder = settings.folder.expanduser().absolute()
    model, vocabulary = _model(folder, settings.file), folder / "tokenizer.json"
    try:
        tokenizer: Any = Tokenizer.from_file(str(vocabulary))
        session = onnxruntime.InferenceSession(str(model), _options(settings.threads), ["CPUExecutionProvider"])
    except Exception as error:  # both raise bare exceptions of their own
        raise ConfigurationError(f"The embedding model in {folder} cannot be loaded: {str(error)[:300]}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(min(settings.max_tokens, _limit(folder)))
    pooling = _pooling(folder) if settings.pooling == "auto" else settings.pooling
    name = stored_name("onnx", folder.name, _told_apart(model, vocabulary), pooling, settings.passage_prefix)
    pad = next((found for word in PADS if (found := tokenizer.token_to_id(word)) is not None), 0)
    _check_inputs(session, model)
    raw = OnnxEmbedder(name, 0, session, tokenizer, pooling, pad, settings.query_prefix, settings.passage_prefix)
    return _measured(raw, model)


def _measured(embedder: OnnxEmbedder, model: Path) -> OnnxEmbedder:
    """With the width that the model was found to give."""
    from dataclasses import replace

    try:
        width = embedder.embed_now(["a test"]).shape[1]
    except Exception as error:  # whatever an unfitting graph makes onnxruntime raise
        raise ConfigurationError(f"The embedding model {model} does not embed a text: {str(error)[:300]}") from error
    return replace(embedder, dimensions=width)


def _model(folder: Path, file: str) -> Path:
    places = [folder / name for name in ((file,) if file else PLACES)]
    found = next((place for place in places if place.is_file()), None)
    if found is None or not (folder / "tokenizer.json").is_file():
        raise ConfigurationError(
            f"{folder} (AEGIS_EMBEDDER__FOLDER) does not hold an embedding model: it needs tokenizer.json and "
            f"{' or '.join(place.relative_to(folder).as_posix() for place in places)}."
        )
    return found


def _options(threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = False  # every batch has another shape
    options.log_severity_level = 3
    return options


def _check_inputs(session: Any, model: Path) -> None:
    foreign = {each.name for each in session.get_inputs()} - {"input_ids", "attention_mask", "token_type_ids"}
    if foreign:
        raise ConfigurationError(
            f"The embedding model {model} wants inputs that no tokenizer gives: {sorted(foreign)}."
        )


def _output(session: Any) -> str:
    names = [str(each.name) for each in session.get_outputs()]
    return "sentence_embedding" if "sentence_embedding" in names else names[0]


def _limit(folder: Path) -> int:
    """Tokens that the model was made for."""
    limits = (
        _json(folder / "sentence_bert_config.json").get("max_seq_length"),
        _json(folder / "config.json").get("max_position_embeddings"),
    )
    return min((limit for limit in limits if isinstance(limit, int) and limit > 0), default=512)


def _pooling(folder: Path) -> Pooling:
    return "cls" if _json(folder / "1_Pooling" / "config.json").get("pooling_mode_cls_token") else "mean"


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


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
