"""Real ONNX models of a few kilobytes: a table of word vectors, looked up, and one that counts a word."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

WIDTH = 32
WORDS = (
    *("cat", "kitten", "sleeps", "sofa", "couch", "bond", "yields", "fell", "rivers", "sentence", "about", "number"),
    *("short", "the", "a", "on", "test", "migration", "of", "birds", "much", "longer"),
)
SPECIAL = ("[PAD]", "[UNK]")


def write_tiny_crossencoder(folder: Path, word: str, *, columns: int = 1) -> Path:
    """A cross-encoder whose answer is how often `word` stands in question and passage: its last column says so."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _tokenizer(folder)
    table = np.zeros((len(vocabulary), columns), np.float32)
    table[vocabulary[word], -1] = 1
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["found"]),
            helper.make_node("ReduceSum", ["found", "tokens_axis"], ["logits"], keepdims=0),
        ],
        "tiny",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
            for name in ("input_ids", "attention_mask", "token_type_ids")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", columns])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1]), "tokens_axis")],
    )
    _save(graph, folder)
    return folder


def write_tiny_onnx(folder: Path, *, inputs: Sequence[str] = ("input_ids", "attention_mask"), seed: int = 0) -> Path:
    """A folder as sentence-transformers keeps one. Inputs beyond `input_ids` are taken and not used."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _tokenizer(folder)
    table = np.random.default_rng(seed).standard_normal((len(vocabulary), WIDTH)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])],
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in inputs],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "tokens", WIDTH])],
        [numpy_helper.from_array(table, "table")],
    )
    _save(graph, folder)
    return folder


def _tokenizer(folder: Path) -> dict[str, int]:
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(SPECIAL + WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return vocabulary


def _save(graph: onnx.GraphProto, folder: Path) -> None:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 64}), "utf-8")
