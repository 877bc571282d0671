"""Ending what runs in a conversation, and erasing it."""

from __future__ import annotations

from aegis.scope import Scope
from graphs.answering import Answering
from memory.conversations import Conversations
from ui import receipts


async def delete(scope: Scope, conversation_id: str, kept: Conversations, answering: Answering) -> None:
    """What still runs in it is stopped first: finishing a turn would make its conversation anew. Raises NotFound."""
    conversation = await kept.get(scope, conversation_id)
    await stop(scope, conversation_id, answering)
    receipts.keep(scope.user, conversation, await kept.delete(scope, conversation_id))


async def stop(scope: Scope, conversation_id: str, answering: Answering) -> None:
    """End every turn under way there; what was written is kept."""
    while (run := answering.running(scope, conversation_id)) is not None:
        await run.stop()
