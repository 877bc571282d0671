"""Server-sent events: framing, keep-alive, and letting go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from api.streaming import KEEP_ALIVE, frame, kept_alive


def test_a_frame_is_one_line_of_data_whatever_the_text() -> None:
    assert frame("token", {"text": "a\nb\r\n\n: c"}, "t.1") == (
        b'id: t.1\nevent: token\ndata: {"text":"a\\nb\\r\\n\\n: c"}\n\n'
    )
    assert frame("done", {"x": float("nan"), "s": "\u2028ü"}) == (
        'event: done\ndata: {"x":null,"s":"\u2028ü"}\n\n'.encode()
    )


async def test_silence_is_filled_and_nothing_is_lost() -> None:
    async def slow() -> AsyncGenerator[bytes]:
        yield b"1"
        await asyncio.sleep(0.05)
        yield b"2"

    seen = [piece async for piece in kept_alive(slow(), seconds=0.01)]
    assert [piece for piece in seen if piece != KEEP_ALIVE] == [b"1", b"2"]
    assert seen[0] == b"1"
    assert 2 <= seen.count(KEEP_ALIVE) <= 8


async def test_a_reader_that_leaves_closes_what_it_read_from() -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncGenerator[bytes]:
        try:
            yield b"1"
            await asyncio.Event().wait()
        finally:
            closed.set()

    frames = kept_alive(endless(), seconds=0.01)
    assert await anext(frames) == b"1"
    assert await anext(frames) == KEEP_ALIVE
    await frames.aclose()
    assert closed.is_set()
