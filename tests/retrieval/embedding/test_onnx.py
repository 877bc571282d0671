"""ONNX models from a folder: what is read from it, and what is said when it does not fit."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from aegis.errors import ConfigurationError
from aegis.settings import OnnxEmbedderSettings
from retrieval.embedding.onnx import load_onnx
from tests.retrieval.embedding.tiny_onnx import WIDTH, write_tiny_onnx

MODEL = "AEGIS_TEST_ONNX_MODEL"  # a folder with a real sentence transformer


def test_the_width_and_the_limit_come_from_the_model(tmp_path: Path) -> None:
    embedder = load_onnx(OnnxEmbedderSettings(folder=write_tiny_onnx(tmp_path / "tiny")))
    assert embedder.dimensions == WIDTH
    long, longer = embedder.embed_now(["cat " * 64, "cat " * 64 + "bond " * 64])  # 64 positions are what it has
    assert np.allclose(long, longer, atol=1e-6)


def test_padding_does_not_change_a_vector(tmp_path: Path) -> None:
    embedder = load_onnx(OnnxEmbedderSettings(folder=write_tiny_onnx(tmp_path / "tiny")))
    assert np.allclose(embedder.embed_now(["cat", "a cat sleeps on the sofa"])[0], embedder.embed_now(["cat"])[0])


def test_pooling_is_what_the_folder_says(tmp_path: Path) -> None:
    folder = write_tiny_onnx(tmp_path / "tiny")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    first, same = load_onnx(OnnxEmbedderSettings(folder=folder)).embed_now(["cat sofa", "cat bond"])
    assert np.allclose(first, same)  # the first token alone
    mean = load_onnx(OnnxEmbedderSettings(folder=folder, pooling="mean")).embed_now(["cat sofa", "cat bond"])
    assert not np.allclose(*mean)


def test_the_name_follows_the_weights_wherever_they_lie(tmp_path: Path) -> None:
    one = write_tiny_onnx(tmp_path / "tiny")
    moved = Path(shutil.copytree(one, tmp_path / "elsewhere" / "tiny"))
    other = write_tiny_onnx(tmp_path / "other" / "tiny", seed=1)
    names = [load_onnx(OnnxEmbedderSettings(folder=folder)).name for folder in (one, moved, other)]
    assert names[0] == names[1] != names[2]


async def test_prefixes_mark_questions_and_passages(tmp_path: Path) -> None:
    folder = write_tiny_onnx(tmp_path / "tiny")
    plain = load_onnx(OnnxEmbedderSettings(folder=folder))
    marked = load_onnx(OnnxEmbedderSettings(folder=folder, query_prefix="cat ", passage_prefix="bond "))
    assert np.allclose(await marked.embed_query("sofa"), await plain.embed_query("cat sofa"))
    assert np.allclose(await marked.embed(["sofa"]), await plain.embed(["bond sofa"]))
    assert marked.name != plain.name  # its passages are other vectors


@pytest.mark.parametrize("missing", ["model.onnx", "tokenizer.json"])
def test_what_is_missing_is_named(tmp_path: Path, missing: str) -> None:
    folder = write_tiny_onnx(tmp_path / "tiny")
    (folder / missing).unlink()
    with pytest.raises(ConfigurationError, match=missing):
        load_onnx(OnnxEmbedderSettings(folder=folder))


@pytest.mark.parametrize("damaged", ["model.onnx", "tokenizer.json"])
def test_damaged_files_are_refused_in_one_sentence(tmp_path: Path, damaged: str) -> None:
    folder = write_tiny_onnx(tmp_path / "tiny")
    (folder / damaged).write_bytes(b"\x00not a model")
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        load_onnx(OnnxEmbedderSettings(folder=folder))


def test_a_model_that_wants_more_than_text_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_onnx(tmp_path / "tiny", inputs=("input_ids", "pixel_values"))
    with pytest.raises(ConfigurationError, match="pixel_values"):
        load_onnx(OnnxEmbedderSettings(folder=folder))


def test_a_real_transformer_knows_meaning() -> None:
    folder = os.environ.get(MODEL, "")
    if not folder:
        pytest.skip(f"{MODEL} names no folder with an ONNX sentence transformer.")
    embedder = load_onnx(OnnxEmbedderSettings(folder=Path(folder)))
    one, same, other = embedder.embed_now(["a cat sleeps on the sofa", "kitten napping on a couch", "bond yields fell"])
    assert one @ same > 0.5 > 0.2 > one @ other
