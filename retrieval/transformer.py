"""A transformer in ONNX from a folder, laid out as sentence-transformers and fastembed lay theirs out.

What embeds texts and what reads a question beside a passage is loaded and run alike. Nothing is fetched.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aegis.errors import ConfigurationError

PLACES = ("model.onnx", "onnx/model.onnx", "model_optimized.onnx")
PADS = ("[PAD]", "<pad>")
INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})


@dataclass(frozen=True, slots=True)
class Use:
    """What a model is loaded for, as messages name it: "embedding model", the setting of its folder."""

    model: str
    setting: str


@dataclass(frozen=True, slots=True)
class Transformer:
    """`session` and `tokenizer` are onnxruntime's and tokenizers' own; both may be used by several threads."""

    session: Any
    tokenizer: Any
    pad: int
    model: Path
    vocabulary: Path

    def run(self, texts: Sequence[str] | Sequence[tuple[str, str]], output: str = "") -> tuple[Any, Any]:
        """One output (the model's first, unless named) for texts or pairs of them, and the mask of their tokens."""
        encoded = self.tokenizer.encode_batch(list(texts))
        shape = (len(encoded), max(len(each.ids) for each in encoded))
        ids, mask, types = np.full(shape, self.pad, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, each in enumerate(encoded):
            ids[row, : len(each.ids)] = each.ids
            mask[row, : len(each.ids)] = 1
            types[row, : len(each.ids)] = each.type_ids
        known = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        given = {name: known[name] for name in (each.name for each in self.session.get_inputs())}
        return self.session.run([output or self.outputs[0]], given)[0], mask

    @property
    def outputs(self) -> list[str]:
        return [str(each.name) for each in self.session.get_outputs()]


def load_transformer(folder: Path, file: str, max_tokens: int, threads: int, use: Use) -> Transformer:
    """Raises ConfigurationError naming what is missing."""
    try:
        import onnxruntime
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ConfigurationError(f"The {use.model} needs the extra `onnx`: pip install 'aegisrag[onnx]'.") from error
    folder = folder.expanduser().absolute()
    model, vocabulary = _model(folder, file, use), folder / "tokenizer.json"
    try:
        tokenizer: Any = Tokenizer.from_file(str(vocabulary))
        session = onnxruntime.InferenceSession(str(model), _options(threads), ["CPUExecutionProvider"])
    except Exception as error:  # both raise bare exceptions of their own
        raise ConfigurationError(f"The {use.model} in {folder} cannot be loaded: {str(error)[:300]}") from error
    if foreign := {each.name for each in session.get_inputs()} - INPUTS:
        raise ConfigurationError(f"The {use.model} {model} wants inputs that no tokenizer gives: {sorted(foreign)}.")
    tokenizer.no_padding()
    tokenizer.enable_truncation(min(max_tokens, _limit(folder)))
    pad = next((found for word in PADS if (found := tokenizer.token_to_id(word)) is not None), 0)
    return Transformer(session, tokenizer, pad, model, vocabulary)


def stated(file: Path) -> dict[str, Any]:
    """What a JSON file of the folder says; nothing where there is none."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _model(folder: Path, file: str, use: Use) -> Path:
    places = [folder / name for name in ((file,) if file else PLACES)]
    found = next((place for place in places if place.is_file()), None)
    if found is None or not (folder / "tokenizer.json").is_file():
        article = "an" if use.model[0] in "aeiou" else "a"
        raise ConfigurationError(
            f"{folder} ({use.setting}) does not hold {article} {use.model}: it needs tokenizer.json and "
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


def _limit(folder: Path) -> int:
    """Tokens that the model was made for."""
    limits = (
        stated(folder / "sentence_bert_config.json").get("max_seq_length"),
        stated(folder / "config.json").get("max_position_embeddings"),
    )
    return min((limit for limit in limits if isinstance(limit, int) and limit > 0), default=512)
