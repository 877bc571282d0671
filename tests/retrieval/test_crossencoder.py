"""A cross-encoder from a folder takes MaxSim's place in a search, and gives it back when it fails or is late."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aegis.errors import ConfigurationError
from aegis.settings import CrossEncoderSettings, MaxSimSettings
from evals.bench.shelf import SCOPE, Shelf, open_shelf, whole
from retrieval.crossencoder import CrossEncoder, TimedReranker, load_cross_encoder, open_reader
from retrieval.embedding.wordllama import load_wordllama
from retrieval.interaction import Reader
from retrieval.search import SearchRequest
from tests.retrieval.embedding.tiny_onnx import write_tiny_crossencoder

QUESTION = "cat sofa"
PASSAGES = ("bond yields fell", "a kitten on the couch", "cat cat sofa")
ANSWERS = "kitten"  # the word that the tiny model was made to look for


def settings(folder: Path, **rest: float) -> CrossEncoderSettings:
    return CrossEncoderSettings.model_validate({"folder": folder, **rest})


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny_crossencoder(tmp_path / "tiny", ANSWERS)


@pytest.mark.parametrize("columns", [1, 2])
def test_it_reads_question_and_passage_together(tmp_path: Path, columns: int) -> None:
    folder = write_tiny_crossencoder(tmp_path / "tiny", ANSWERS, columns=columns)
    scores = load_cross_encoder(settings(folder)).scores_now(QUESTION, PASSAGES)
    assert scores == [0.0, 1.0, 0.0]
    assert load_cross_encoder(settings(folder)).scores_now(QUESTION, []) == []


def test_scores_belong_to_their_passages_whatever_their_lengths_and_number(tiny: Path) -> None:
    passages = [f"{'a ' * ((number * 7) % 23)}{'kitten' if number % 3 == 0 else 'bond'}" for number in range(40)]
    scores = load_cross_encoder(settings(tiny)).scores_now(QUESTION, passages)
    assert [score > 0.5 for score in scores] == [number % 3 == 0 for number in range(40)]


def test_what_is_longer_than_the_model_reads_is_cut(tiny: Path) -> None:
    model = load_cross_encoder(settings(tiny, max_tokens=16))
    far, near = "bond " * 5000 + "kitten", "kitten " + "bond " * 5000
    assert model.scores_now("cat " * 5000, [far, near]) in ([0.0, 1.0], [0.0, 0.0])


@pytest.mark.parametrize("missing", ["model.onnx", "tokenizer.json"])
def test_what_is_missing_is_named(tiny: Path, missing: str) -> None:
    (tiny / missing).unlink()
    with pytest.raises(ConfigurationError, match=rf"AEGIS_RERANKER__FOLDER.*{missing}"):
        load_cross_encoder(settings(tiny))


def test_a_model_that_does_not_rank_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_crossencoder(tmp_path / "tiny", ANSWERS, columns=3)
    with pytest.raises(ConfigurationError, match=r"shape \(2, 3\)"):
        load_cross_encoder(settings(folder))


async def test_a_missing_model_leaves_words_compared(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with open_reader(settings(tmp_path / "nowhere")) as reader:
            assert reader is None
    assert "nowhere" in caplog.text
    async with open_reader(MaxSimSettings()) as reader:
        assert reader is None


@asynccontextmanager
async def shelved(folder: Path) -> AsyncGenerator[Shelf]:
    async with open_shelf(folder, load_wordllama()) as shelf:
        await shelf.put([whole(f"passage-{number}", "", text) for number, text in enumerate(PASSAGES)])
        yield shelf


async def best(shelf: Shelf, reader: Reader | None, *, rerank: bool = False) -> str:
    hits = await shelf.searcher(reader).search(SCOPE, SearchRequest(QUESTION, top_k=3, rerank=rerank))
    return hits[0].chunk.text


@pytest.mark.parametrize("rerank", [False, True])
async def test_a_search_is_ranked_by_it(tiny: Path, tmp_path: Path, rerank: bool) -> None:
    async with shelved(tmp_path / "shelf") as shelf, open_reader(settings(tiny, seconds=60)) as reader:
        assert await best(shelf, None, rerank=rerank) == PASSAGES[2]
        assert await best(shelf, reader, rerank=rerank) == PASSAGES[1]


async def test_it_looks_at_the_best_candidates_only(tiny: Path, tmp_path: Path) -> None:
    asked: list[int] = []

    class Counting(TimedReranker):
        async def scores(self, question: str, passages: Sequence[str]) -> list[float] | None:
            asked.append(len(passages))
            return await super().scores(question, passages)

    reader = Counting(load_cross_encoder(settings(tiny)), 60, 0.7, 2)
    async with shelved(tmp_path / "shelf") as shelf:
        await best(shelf, reader)
        await best(shelf, reader, rerank=True)
    reader.close()
    assert asked == [2, 3]


async def test_one_that_fails_leaves_words_compared(
    tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = load_cross_encoder(settings(tiny))

    class Broken:
        def get_inputs(self) -> list[object]:
            raise RuntimeError("out of memory")

    object.__setattr__(model.transformer, "session", Broken())
    reader = TimedReranker(model, 60, 0.7, 25)
    async with shelved(tmp_path / "shelf") as shelf:
        assert await best(shelf, reader) == PASSAGES[2]
        assert await best(shelf, reader) == PASSAGES[2]
    reader.close()
    assert caplog.text.count("Reranked by words only") == 1  # not with every search


async def test_one_that_is_late_leaves_words_compared_and_waits_for_nobody(tiny: Path, tmp_path: Path) -> None:
    """The model hangs until the test is over: two searches are answered meanwhile, the second's turn never comes."""
    free, begun = threading.Event(), list[str]()

    class Hanging(CrossEncoder):
        def scores_now(self, question: str, passages: Sequence[str], until: float = float("inf")) -> list[float]:
            begun.append(question)
            free.wait(60)
            return [0.0] * len(passages)

    reader = TimedReranker(Hanging(load_cross_encoder(settings(tiny)).transformer), 0.05, 0.7, 25)
    try:
        async with shelved(tmp_path / "shelf") as shelf:
            assert await best(shelf, reader) == PASSAGES[2]
            assert await best(shelf, reader) == PASSAGES[2]
        assert len(begun) <= 1
    finally:
        free.set()
        reader.close()


async def test_time_that_is_over_ends_the_reading(tiny: Path) -> None:
    reader = TimedReranker(load_cross_encoder(settings(tiny)), 1e-9, 0.7, 25)
    assert await reader.scores(QUESTION, PASSAGES) is None
    reader.close()
