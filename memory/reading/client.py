"""Graphiti's language model, asked through our own pool, routing and budgets.

An answer must follow the schema that Graphiti gives; one that does not is asked for once more, with what is wrong.
Imports Graphiti: import this module where a chunk is read, not at start.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from graphiti_core.llm_client.client import LLMClient
from graphiti_core.llm_client.config import LLMConfig, ModelSize
from graphiti_core.prompts.models import Message
from pydantic import BaseModel, ValidationError

from aegis.errors import ModelFailed
from inference import ChatMessage, Model, WriteRequest
from inference.prices import NANO
from memory.reading.queue import Reading, Usage

ATTEMPTS = 2  # at an answer that follows the schema
# What is not asked: dates are taken from the sentence that states a fact, and a summary would be a model's own words,
# which nothing holds against a source.
_NOT_ASKED: Mapping[str, Mapping[str, Any]] = {"EdgeTimestamps": {}, "SummarizedEntities": {"summaries": []}}
_FENCED = re.compile(r"^\s*```\w*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)


class PooledClient(LLMClient):
    """For one chunk. `turn` is awaited before each call: the rate's bound; `shareable` too, because the document may
    be marked private at any time. Raises ModelUnavailable, BudgetExhausted, and ModelFailed where no answer follows the
    schema."""

    def __init__(
        self,
        model: Model,
        reading: Reading,
        turn: Callable[[], Awaitable[object]],
        shareable: Callable[[], Awaitable[bool]],
    ) -> None:
        super().__init__(LLMConfig(api_key="none", model="ours"))
        self.usage = Usage()
        self._asked = model
        self._reading = reading
        self._turn = turn
        self._shareable = shareable

    async def generate_response(
        self,
        messages: list[Message],
        response_model: type[BaseModel] | None = None,
        max_tokens: int | None = None,
        model_size: ModelSize = ModelSize.medium,
        group_id: str | None = None,
        prompt_name: str | None = None,
        *,
        attribute_extraction: bool = False,
        model: str | None = None,
    ) -> dict[str, Any]:
        if response_model is None:
            raise ModelFailed("Graphiti asked for an answer without a form.")
        if (given := _NOT_ASKED.get(response_model.__name__)) is not None:
            return dict(given)
        told = [_message(message) for message in messages]
        wrong = ""
        for _ in range(ATTEMPTS):
            text = await self._answer(told, response_model.model_json_schema())
            try:
                return _checked(text, response_model)
            except (ValueError, ValidationError) as error:
                wrong = _short(error)
                told += [ChatMessage("assistant", text[:2000]), ChatMessage("user", _AGAIN.format(wrong=wrong))]
        raise ModelFailed(f"{self.usage.model} did not answer in the form that was asked for: {wrong}")

    async def _generate_response(self, messages: list[Message], *given: Any, **more: Any) -> dict[str, Any]:
        return await self.generate_response(messages, *given, **more)

    async def _answer(self, messages: Sequence[ChatMessage], schema: Mapping[str, Any]) -> str:
        await self._turn()
        request = WriteRequest(
            question="",
            passages=(),
            messages=tuple(messages),
            role="extraction",
            user=self._reading.owner,
            shareable=await self._shareable(),
            agreed=self._reading.agreed,
            schema=schema,
        )
        piece = await self._asked.ask(request)
        usage = self.usage
        usage.model, usage.calls = piece.model, usage.calls + 1
        usage.tokens_in, usage.tokens_out = usage.tokens_in + piece.tokens_in, usage.tokens_out + piece.tokens_out
        usage.nano += round(piece.cost * NANO)
        return piece.text


_AGAIN = "That was not in the form asked for ({wrong}). Answer with the JSON object alone."


def _message(message: Message) -> ChatMessage:
    kind = {"system": "system", "assistant": "assistant"}.get(message.role, "user")
    return ChatMessage(kind, message.content.replace("\x00", ""))  # pyright: ignore[reportArgumentType]  # one of Role


def _checked(text: str, form: type[BaseModel]) -> dict[str, Any]:
    fenced = _FENCED.match(text)
    found = json.loads(fenced.group(1) if fenced else text)
    if not isinstance(found, dict):
        raise ValueError(f"{type(found).__name__} instead of an object")
    form.model_validate(found)
    return found  # pyright: ignore[reportUnknownVariableType]


def _short(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:200]
    return str(error)[:200]
