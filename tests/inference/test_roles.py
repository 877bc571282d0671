"""A model for each role: who is asked for what, what stays on this machine, and that haste harms no server."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from aegis.errors import ModelUnavailable
from aegis.settings import ModelRole
from inference import ChatMessage, WriteRequest
from tests.inference.conftest import PRICES, Routed
from tests.inference.test_writer_contract import REQUEST
from tests.servers.ollama import Fault, OllamaLike
from tests.servers.openai import OpenAILike

HELLO = WriteRequest("q", (), [ChatMessage("user", "Question: hello?")])
ROLES: tuple[ModelRole, ...] = ("query", "extraction", "judge")


async def test_each_role_has_its_model(ollama_like: OllamaLike, routed_writer: Routed) -> None:
    chats = ["completion"]
    ollama_like.models = dict.fromkeys(("llama3.2:3b", "llama3.1:8b", "gemma3:4b"), chats)
    async with routed_writer(ollama={"url": ollama_like.url}) as writer:
        asked = [(await writer.ask(replace(HELLO, role=role))).model for role in ROLES]
        assert asked == ["llama3.2:3b", "gemma3:4b", "llama3.1:8b"]
        ollama_like.models = {"llama3.2:3b": chats}
        await writer.look()
        assert (await writer.ask(replace(HELLO, role="judge"))).model == "llama3.2:3b"
    assert {call.body["options"]["num_ctx"] for call in ollama_like.chats} == {8192}


async def test_the_whole_answer_comes_at_once_with_its_counts(ollama_like: OllamaLike, routed_writer: Routed) -> None:
    ollama_like.script = ["One two three."]
    async with routed_writer(ollama={"url": ollama_like.url}) as writer:
        said = await writer.ask(HELLO)
    assert (said.text, said.tokens_out, said.cost) == ("One two three.", 3, 0.0)
    assert said.waited is not None


@pytest.mark.parametrize("fault", ["error_500", "cut", "error_midway", "garbage"])
async def test_half_an_answer_is_none(fault: Fault, ollama_like: OllamaLike, routed_writer: Routed) -> None:
    ollama_like.fault = fault
    ollama_like.script = ["One two three four five six."] * 3
    async with routed_writer(ollama={"url": ollama_like.url}) as writer:
        with pytest.raises(ModelUnavailable):
            await writer.ask(HELLO)


async def test_without_a_model_it_says_what_is_missing(routed_writer: Routed) -> None:
    async with routed_writer() as writer:
        with pytest.raises(ModelUnavailable, match="ollama pull"):
            await writer.ask(HELLO)


async def test_what_is_private_is_asked_here_and_what_is_paid_is_paid_once(
    openai_like: OpenAILike, routed_writer: Routed
) -> None:
    provider = {"kind": "openai", "url": openai_like.base_url, "api_key": "k"}
    cloud = {"allowed": True, "collections": ["*"], "prices": PRICES}
    async with routed_writer(providers=[provider], cloud=cloud) as writer:
        with pytest.raises(ModelUnavailable):
            await writer.ask(replace(REQUEST, user="ada", role="judge"))
        assert openai_like.chats == []
        said = await writer.ask(replace(REQUEST, user="ada", role="judge", shareable=True))
        spent = (await writer.budgets.used("ada"))[0].spent
    assert said.cost == pytest.approx(spent)
    assert spent > 0


async def test_whoever_has_no_patience_opens_no_circuit(ollama_like: OllamaLike, routed_writer: Routed) -> None:
    ollama_like.first_token_after = 60
    async with routed_writer(ollama={"url": ollama_like.url, "failures": 1, "first_token_timeout": 30}) as writer:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await writer.ask(HELLO)
        assert writer.status().servers[0].state == "up"
        ollama_like.first_token_after = 0
        assert (await writer.ask(HELLO)).text
    assert {call.outcome for call in ollama_like.chats[:-1]} <= {"cancelled"}


async def test_evidence_is_fitted_to_the_shortest_window_of_the_model(
    ollama_like: OllamaLike, routed_writer: Routed
) -> None:
    """What a server asks for beyond what the model can have, it cuts in silence."""
    async with routed_writer(ollama={"url": ollama_like.url}) as writer:
        assert writer.window() == 8192
    ollama_like.contexts = {"llama3.2:3b": 2048}
    async with routed_writer(ollama={"url": ollama_like.url}) as writer:
        assert writer.window() == 2048
        assert writer.window("judge") == 2048
    ollama_like.contexts = {"llama3.2:3b": 131_072}
    async with routed_writer(ollama={"url": ollama_like.url}) as writer:
        assert writer.window() == 8192
