"""The hot tier: the last turns of live conversations, at hand for the next question. A cache, never the truth.

A block carries the version of its conversation; `tiers.py` compares it with the relational store's, so that a block
which missed a turn is passed over. Adapters: `ProcessHot` here, `RedisHot` in `hot_redis.py`.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from memory.conversations import Turn

TTL = 3600  # seconds a conversation stays after its last use
MOST = 256  # conversations in one process


@dataclass(frozen=True, slots=True)
class Block:
    version: int
    turns: tuple[Turn, ...]


class HotTier(Protocol):
    """Never raises for its server's sake: what cannot be had is not there, what cannot be kept is not kept."""

    async def get(self, conversation_id: str) -> Block | None:
        """Use keeps it alive for another TTL."""
        ...

    async def put(self, conversation_id: str, block: Block) -> None: ...

    async def drop(self, conversation_ids: Sequence[str]) -> None: ...


class ProcessHot:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._blocks: OrderedDict[str, tuple[float, Block]] = OrderedDict()  # with the end of its life, oldest first

    async def get(self, conversation_id: str) -> Block | None:
        until, block = self._blocks.pop(conversation_id, (0.0, None))
        if block is None or until < self._clock():
            return None
        await self.put(conversation_id, block)
        return block

    async def put(self, conversation_id: str, block: Block) -> None:
        self._blocks[conversation_id] = (self._clock() + TTL, block)
        self._blocks.move_to_end(conversation_id)
        if len(self._blocks) > MOST:
            self._blocks.popitem(last=False)

    async def drop(self, conversation_ids: Sequence[str]) -> None:
        for conversation_id in conversation_ids:
            self._blocks.pop(conversation_id, None)
