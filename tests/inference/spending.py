"""One process that makes many cloud calls at once: `python -m tests.inference.spending SETTINGS FOLDER CALLS`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aegis.database import open_database
from aegis.settings import Settings
from inference import Passage, WriteRequest
from inference.routing import RoutedWriter, budgets_of, open_writer
from tests.inference.test_writer_contract import QUESTION, REQUEST, TEXT


async def _embed(texts: Sequence[str]) -> NDArray[np.float32]:
    return np.zeros((len(texts), 8), np.float32)


async def _call(writer: RoutedWriter) -> None:
    passages = [Passage(1, "c1", "Qdrant", TEXT, 0, 1.0)]
    request = WriteRequest(QUESTION, passages, REQUEST.messages, user="ada", shareable=True)
    model = ""
    async for piece in writer.write(request):
        model = piece.model
    print(model, flush=True)  # noqa: T201  # the test counts


async def main(settings: Settings, folder: Path, calls: int) -> None:
    async with (
        open_database(settings.database, folder) as database,
        open_writer(settings, budgets_of(settings, database, lambda: datetime.now(UTC)), _embed) as writer,
    ):
        await asyncio.gather(*(_call(writer) for _ in range(calls)))


if __name__ == "__main__":
    asyncio.run(main(Settings.model_validate_json(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
