"""What adapters over langchain's chat models share: messages in, chunks out within deadlines, waits told apart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any

from inference import ChatMessage, Piece, WriteRequest

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage
    from langchain_core.messages.ai import UsageMetadata


class Streamed:
    """One answer of a model: its pieces as they come, and what is known of it meanwhile."""

    def __init__(self, chat: BaseChatModel, name: str) -> None:
        self.shown = False
        self.usage: UsageMetadata | None = None  # what its server counted, in its last chunk
        self._chat = chat
        self._name = name

    async def pieces(
        self, request: WriteRequest, *, first: float, timeout: float, **given: Any
    ) -> AsyncGenerator[Piece]:
        """The first chunk within `first` seconds, all within `timeout` and before the request's deadline.

        Raises TimeoutError and whatever the model's library raises. Cancelled or closed, the connection is closed,
        which stops the model. `_astream` is what adapters of langchain implement; around it, `astream` would look for
        tracers in the environment, and a tracer sends prompts elsewhere. `given`: more of the request, as the library
        takes it.
        """
        stream: Any = self._chat._astream(_messages(request.messages), **given)  # pyright: ignore[reportPrivateUsage]
        deadline = min(request.deadline, time.monotonic() + timeout)
        limit = min(deadline, time.monotonic() + first)
        try:
            while True:
                async with asyncio.timeout_at(limit):
                    chunk = (await stream.__anext__()).message
                self.usage = chunk.usage_metadata or self.usage
                if isinstance(chunk.content, str) and chunk.content:
                    self.shown = True
                    yield Piece(chunk.content, self._name)
                limit = deadline
        except StopAsyncIteration:
            return
        finally:
            await stream.aclose()


def _messages(messages: Sequence[ChatMessage]) -> list[BaseMessage]:
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    kinds = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
    return [kinds[message.role](message.text) for message in messages]
