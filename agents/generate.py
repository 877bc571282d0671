"""Writes the answer from the passages, piece by piece, as they come from the writer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

from langgraph.runtime import Runtime

from aegis.scope import Scope
from agents.evidence import Chunks, asked_of, drawn_on, gather
from agents.orders import gives_orders
from agents.prompts import CONVERSATION_SHARE, answer_messages
from agents.state import Context, State, token
from agents.window import Seen, Window
from inference import Passage, Piece, Unwritten, Writer, WriteRequest
from retrieval.chunk import Chunk


class MayLeave(Protocol):
    """Whether a question of this conversation, with passages of these collections that rests on these documents, may
    leave this machine."""

    async def __call__(
        self,
        scope: Scope,
        conversation_id: str,
        collections: Iterable[str],
        documents: Iterable[str],
        *,
        agreed: bool = False,
    ) -> bool: ...


async def nothing_leaves(
    scope: Scope,
    conversation_id: str,
    collections: Iterable[str],
    documents: Iterable[str],
    *,
    agreed: bool = False,
) -> bool:
    return False


@dataclass(frozen=True)
class Generate:
    """Node: sets `answer`, `model`, `tokens_in`, `tokens_out`, `cost`, `first_token_ms`, `offer` and `notes`; streams
    {"type": "token", "text"}. `room`: tokens that fit the model which would be asked now.

    A run that is cancelled closes the writer, which stops the model at its server.
    """

    chunks: Chunks
    writer: Writer
    room: Callable[[], int] = lambda: 8192
    may_leave: MayLeave = nothing_leaves
    max_sentences: int = 3
    window: Window | None = None

    async def __call__(self, state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        context = runtime.context
        evidence = await gather(self.chunks, context.scope, state)
        if not evidence:
            return {"answer": "", "model": "", "tokens_in": 0, "tokens_out": 0}
        passages = [passage for passage, _ in evidence]
        written = _Written(notes=_warnings(passages))
        request = await self._request(state, context, evidence)
        async with aclosing(self.writer.write(request)) as pieces:
            async for piece in pieces:
                if piece.text:
                    runtime.stream_writer(token(piece.text))
                written.take(piece)
        return written.changes()

    async def _request(self, state: State, context: Context, evidence: list[tuple[Passage, Chunk]]) -> WriteRequest:
        question, room = asked_of(state), self.room()
        passages = [passage for passage, _ in evidence]
        leaves = await self._leaves(state, context, [chunk for _, chunk in evidence])
        seen = await self._seen(context, question, room)
        told = [(turn.question, turn.answer) for turn in seen.turns]
        count = self.max_sentences
        messages = partial(answer_messages, passages=passages, num_ctx=room, max_sentences=count)
        # Earlier turns may tell of private documents: they are no part of what may leave, nor is the question's
        # standalone form, which is made of their words.
        outside = Unwritten(partial(messages, state["question"])) if leaves else ()
        return WriteRequest(
            question,
            passages,
            Unwritten(partial(messages, question, earlier=told, summary=seen.summary)),
            count,
            user=context.user,
            shareable=leaves,
            agreed=context.agreed,
            outside=outside,
        )

    async def _leaves(self, state: State, context: Context, read: list[Chunk]) -> bool:
        """Passages, facts, and the passages that mentions led from: all of them have a say."""
        if context.stays:
            return False
        ids = {chunk.id for chunk in read}
        ways = {way for hit in state.get("found", []) if hit["chunk_id"] in ids for way in hit["via"]} - ids
        led = await self.chunks.chunks(context.scope, sorted(ways)) if ways else []
        chunks = [*read, *led]
        documents = {*(chunk.document_id for chunk in chunks), *drawn_on(state)}
        collections = {chunk.collection for chunk in chunks}
        scope, talk = context.scope, context.conversation_id
        return await self.may_leave(scope, talk, collections, documents, agreed=context.agreed)

    async def _seen(self, context: Context, question: str, room: int) -> Seen:
        if self.window is None:
            return Seen([])
        return await self.window(context, question, int(room * CONVERSATION_SHARE))


class _Written:
    """What the pieces add up to."""

    def __init__(self, notes: list[str]) -> None:
        self._text: list[str] = []
        self._notes = notes
        self._found: dict[str, Any] = {"model": "", "tokens_in": 0, "tokens_out": 0}
        self._found |= {"cost": 0.0, "first_token_ms": None, "offer": None}

    def take(self, piece: Piece) -> None:
        found = self._found
        self._text.append(piece.text)
        found["model"] = piece.model or found["model"]
        if piece.tokens_in or piece.tokens_out:
            found |= {"tokens_in": piece.tokens_in, "tokens_out": piece.tokens_out}
        if piece.cost:
            found["cost"] = round(found["cost"] + piece.cost, 9)
        if piece.waited is not None:
            found["first_token_ms"] = round(piece.waited * 1000, 1)
        if piece.offer is not None:
            found["offer"] = asdict(piece.offer)
        if piece.note:
            self._notes.append(piece.note)

    def changes(self) -> dict[str, Any]:
        return {"answer": "".join(self._text), **self._found, "notes": self._notes}


def _warnings(passages: Sequence[Passage]) -> list[str]:
    return [
        f"“{passage.title}” contains text that gives orders to assistants; it was read as data and not followed."
        for passage in passages
        if gives_orders(passage.text)
    ]
