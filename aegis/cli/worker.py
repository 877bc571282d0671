"""`aegis worker`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal

from aegis.settings import Settings


def worker() -> None:
    from aegis.cli.serve import OFFLINE, keep_few_arenas
    from aegis.telemetry import configure_logging

    settings = Settings()
    configure_logging(settings.log_level)
    logging.getLogger("taskiq").setLevel(logging.ERROR)  # what it loses is found by looking
    os.environ.update(OFFLINE)
    keep_few_arenas()
    asyncio.run(_work(settings))


async def _work(settings: Settings) -> None:
    from aegis.services.worker import open_worker

    async with open_worker(settings) as opened:
        loop = asyncio.get_running_loop()
        for ending in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # on Windows it just ends, and a server gives its files away
                loop.add_signal_handler(ending, opened.stop)
        print("A worker is ready: it takes up files of ingestion jobs (Ctrl+C stops it)", flush=True)
        await opened.run()
