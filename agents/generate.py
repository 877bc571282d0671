"""Writes the answer from the passages, piece by piece, as they come from the writer."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from langgraph.runtime import Runtime

from agents.evidence import Chunks, asked_of, gather
from agents.prompts import CONVERSATION_SHARE, answer_messages
from agents.state import Context, State, token
from agents.window import Window
from inference import Passage, Writer, WriteRequest


@dataclass(frozen=True)
class Generate:
    """Node: sets `answer`, `model`, `tokens_in`, `tokens_out` and `notes`; streams {"type": "token", "text"}.

    A run that is cancelled closes the writer, which stops the model at its server.
    """

    chunks: Chunks
    writer: Writer
    num_ctx: int = 8192
    max_sentences: int = 3
    window: Window | None = None

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        evidence = await gather(self.chunks, runtime.context.scope, state)
        if not evidence:
            return {"answer": "", "model": "", "tokens_in": 0, "tokens_out": 0}
        earlier = await self._earlier(runtime.context, asked_of(state))
        request = self._request(asked_of(state), [passage for passage, _ in evidence], earlier)
        text: list[str] = []
        counts = {"model": "", "tokens_in": 0, "tokens_out": 0}
        notes: list[str] = []
        async with aclosing(self.writer.write(request)) as pieces:
            async for piece in pieces:
                if piece.text:
                    text.append(piece.text)
                    runtime.stream_writer(token(piece.text))
                if piece.tokens_in or piece.tokens_out:
                    counts |= {"tokens_in": piece.tokens_in, "tokens_out": piece.tokens_out}
                counts["model"] = piece.model or counts["model"]
                if piece.note:
                    notes.append(piece.note)
        return {"answer": "".join(text), **counts, "notes": notes}

    async def _earlier(self, context: Context, question: str) -> list[tuple[str, str]]:
        if self.window is None:
            return []
        turns = await self.window(context, question, int(self.num_ctx * CONVERSATION_SHARE))
        return [(turn.question, turn.answer) for turn in turns]

    def _request(self, question: str, passages: list[Passage], earlier: list[tuple[str, str]]) -> WriteRequest:
        messages = answer_messages(
            question, passages, num_ctx=self.num_ctx, max_sentences=self.max_sentences, earlier=earlier
        )
        return WriteRequest(question, passages, messages, self.max_sentences)
