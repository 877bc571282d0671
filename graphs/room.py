"""Room for steps that compute, and a pause before each.

One interpreter works for everybody: while a step computes, no search gets on. So few steps compute at a time, and each
lets whatever is ready go first.
"""

from __future__ import annotations

import asyncio


class Room:
    """A context for one step; at most `steps` are in it."""

    def __init__(self, steps: int) -> None:
        self._places = asyncio.Semaphore(steps)

    async def __aenter__(self) -> None:
        await self._places.acquire()
        try:
            await asyncio.sleep(0)
        except BaseException:
            self._places.release()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._places.release()
