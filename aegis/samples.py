"""The sample documents: taken in once, when the store holds no document at all."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from aegis.errors import AegisError
from aegis.scope import local_scope
from retrieval.catalogue import Catalogue
from retrieval.ingestion import Ingestion, Upload

FOLDER = Path(__file__).resolve().parents[1] / "samples" / "documents"
TAG = "sample"

logger = logging.getLogger(__name__)


def uploads(folder: Path = FOLDER) -> list[Upload]:
    return [
        Upload(source=f"sample:{file.name}", data=file.read_bytes(), tags=(TAG,))
        for file in sorted(folder.iterdir())
        if file.is_file() and not file.name.startswith(".")
    ]


async def take_in_samples(catalogue: Catalogue, ingestion: Ingestion) -> None:
    """Returns when they can be found, or at once where there is a document already; a server starts without them."""
    try:
        await _take_in(catalogue, ingestion)
    except AegisError as error:
        logger.warning("The sample documents were not taken in: %s", error)


async def _take_in(catalogue: Catalogue, ingestion: Ingestion) -> None:
    scope = local_scope()
    if await catalogue.collections():
        return
    files = await asyncio.to_thread(uploads)
    logger.info("Taking in %d sample documents", len(files))
    job = await ingestion.submit(scope, files)
    async for seen in ingestion.watch(scope, job.id):
        job = seen
    for failure in job.failures:
        logger.warning("Sample %s was not taken in: %s", failure.source, failure.reason)
