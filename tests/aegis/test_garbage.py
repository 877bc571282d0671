"""The memory of a long-lived process."""

from __future__ import annotations

import asyncio
import gc
import sys

import pytest

from aegis import garbage


def test_what_stays_is_set_apart_and_comes_back_in_the_end() -> None:
    kept: list[list[int]] = []
    with garbage.set_apart():
        before = gc.get_freeze_count()
        assert before > 0
        kept += [[number] for number in range(1000)]
        gc.collect()
        assert gc.get_freeze_count() >= before + 1000
        for _ in range(garbage.SETTLING):
            gc.collect()
        settled = gc.get_freeze_count()
        kept += [[number] for number in range(1000)]
        gc.collect()
        assert gc.get_freeze_count() == settled
    assert gc.get_freeze_count() == 0


def test_cycles_are_looked_for_more_seldom_meanwhile() -> None:
    before = gc.get_threshold()
    with garbage.set_apart():
        assert gc.get_threshold()[0] == garbage.YOUNG > before[0]
    assert gc.get_threshold() == before


@pytest.mark.skipif(sys.platform != "linux", reason="The C library's memory is given back on Linux only.")
async def test_memory_goes_back_once_after_each_busy_time(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed: list[int] = []

    class Library:
        malloc_trim = staticmethod(trimmed.append)

        def __init__(self, name: str | None) -> None:
            assert name is None

    monkeypatch.setattr(garbage.ctypes, "CDLL", Library)
    monkeypatch.setattr(garbage, "LOOK", 0.05)
    task = asyncio.create_task(garbage.give_back())
    await asyncio.sleep(0.5)
    assert trimmed == [0]
    began = asyncio.get_running_loop().time()
    while asyncio.get_running_loop().time() - began < 0.3:
        sum(range(20_000))
        await asyncio.sleep(0)
    await asyncio.sleep(0.5)
    task.cancel()
    assert trimmed == [0, 0]
