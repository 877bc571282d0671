"""A cross-encoder in ONNX: reads the question and a passage together, where MaxSim compares their words.

Better and a hundred times slower, so it is optional, looks at the best candidates only, in a thread of its own, and
for so long and no longer: what comes late, fails or is missing leaves the ranking to MaxSim.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aegis.errors import ConfigurationError, ModelFailed
from aegis.settings import CrossEncoderSettings, RerankerSettings
from retrieval.transformer import Transformer, Use, load_transformer

BATCH = 8  # pairs of one run: small enough to stop in time
READ_CHARS = 8000  # of a question or passage: what a tokenizer is given at most
USE = Use("reranking model", "AEGIS_RERANKER__FOLDER")
QUIET_SECONDS = 60.0  # between two warnings

logger = logging.getLogger(__name__)


class TooLate(Exception):
    """The time for one search is over."""


@dataclass(frozen=True, slots=True)
class CrossEncoder:
    """`transformer` gives one number a pair (how well the passage answers), or two (no, yes)."""

    transformer: Transformer

    def scores_now(self, question: str, passages: Sequence[str], until: float = float("inf")) -> list[float]:
        """One per passage in [0, 1], the best 1, the worst 0. Raises TooLate at `until` (monotonic), ModelFailed."""
        found = np.zeros(len(passages), np.float32)
        order = sorted(range(len(passages)), key=lambda place: len(passages[place]))
        for start in range(0, len(order), BATCH):
            if time.monotonic() >= until:
                raise TooLate
            places = order[start : start + BATCH]
            found[places] = self._logits([(question[:READ_CHARS], passages[place][:READ_CHARS]) for place in places])
        return _spread(found)

    def _logits(self, pairs: Sequence[tuple[str, str]]) -> Any:
        try:
            found, _ = self.transformer.run(pairs)
        except Exception as error:  # whatever an unfitting graph makes onnxruntime raise
            raise ModelFailed(f"The reranking model {self.transformer.model} failed: {str(error)[:300]}") from error
        if found.ndim != 2 or found.shape[1] not in (1, 2) or not np.isfinite(found).all():
            raise ModelFailed(
                f"The reranking model {self.transformer.model} gives an output of shape {found.shape} for "
                f"{len(pairs)} pairs; one or two finite numbers a pair are needed."
            )
        return found[:, 0] if found.shape[1] == 1 else found[:, 1] - found[:, 0]


@dataclass(slots=True)
class TimedReranker:
    """One pair of hands: a search that cannot be served in `seconds`, its waiting included, goes without."""

    model: CrossEncoder
    seconds: float
    share: float
    depth: int
    _hands: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "reranking"))
    _warned: float = float("-inf")

    async def scores(self, question: str, passages: Sequence[str]) -> list[float] | None:
        """One per passage in [0, 1], comparable within this call only; None where the search goes without."""
        until = time.monotonic() + self.seconds
        asked = self._hands.submit(self.model.scores_now, question, passages, until)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(asked), self.seconds)
        except (TooLate, TimeoutError):
            self._warn(f"no answer within {self.seconds:g} s (AEGIS_RERANKER__SECONDS)")
        except ModelFailed as error:
            self._warn(error.message)
        finally:
            asked.cancel()  # what waits for its turn is not begun any more
        return None

    def close(self) -> None:
        self._hands.shutdown(wait=False, cancel_futures=True)

    def _warn(self, why: str) -> None:
        if time.monotonic() - self._warned >= QUIET_SECONDS:
            self._warned = time.monotonic()
            logger.warning("Reranked by words only: %s", why)


@asynccontextmanager
async def open_reader(settings: RerankerSettings) -> AsyncGenerator[TimedReranker | None]:
    """None where no model is wanted, or it cannot be loaded: then words are compared, and the log says so."""
    if not isinstance(settings, CrossEncoderSettings):
        yield None
        return
    try:
        model = await asyncio.to_thread(load_cross_encoder, settings)
    except ConfigurationError as error:
        logger.warning("Reranked by words only: %s", error.message)
        yield None
        return
    reader = TimedReranker(model, settings.seconds, settings.share, settings.depth)
    try:
        yield reader
    finally:
        reader.close()


def load_cross_encoder(settings: CrossEncoderSettings) -> CrossEncoder:
    """Raises ConfigurationError naming what is missing, or that the model does not rank."""
    loaded = load_transformer(settings.folder, settings.file, settings.max_tokens, settings.threads, USE)
    model = CrossEncoder(loaded)
    try:
        model.scores_now("a test", ["a passage", "another"])
    except ModelFailed as error:
        raise ConfigurationError(error.message) from error
    return model


def _spread(logits: Any) -> list[float]:
    if not len(logits):
        return []
    low, high = float(logits.min()), float(logits.max())
    return [(float(logit) - low) / max(high - low, 1e-6) for logit in logits]
