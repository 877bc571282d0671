"""What adapters over langchain's chat models share: messages in, chunks out within deadlines, waits told apart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any

from inference import ChatMessage

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessageChunk, BaseMessage


async def chunks(
    chat: BaseChatModel, messages: Sequence[ChatMessage], *, first: float, deadline: float
) -> AsyncGenerator[AIMessageChunk]:
    """Chunks as they come; the first within `first` seconds, all before `deadline` (monotonic seconds).

    Raises TimeoutError and whatever the model's library raises. Cancelled or closed, the connection is closed, which
    stops the model. `_astream` is what adapters of langchain implement; around it, `astream` would look for tracers in
    the environment, and a tracer sends prompts elsewhere.
    """
    stream: Any = chat._astream(_messages(messages))  # pyright: ignore[reportPrivateUsage]
    limit = min(deadline, time.monotonic() + first)
    try:
        while True:
            async with asyncio.timeout_at(limit):
                chunk = await stream.__anext__()
            yield chunk.message
            limit = deadline
    except StopAsyncIteration:
        return
    finally:
        await stream.aclose()


def _messages(messages: Sequence[ChatMessage]) -> list[BaseMessage]:
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    kinds = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
    return [kinds[message.role](message.text) for message in messages]
