"""Part of the composition root: what runs beside requests, and how it ends."""

from __future__ import annotations

import asyncio


async def cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})  # its own failure was logged where it happened
