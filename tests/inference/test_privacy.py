"""What is private never leaves this machine, whatever is configured, however local servers behave."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aegis.errors import ConfigurationError
from inference import ChatMessage, Piece
from inference.premises import on_this_machine
from inference.routing import PRIVATE, RoutedWriter
from tests.inference.conftest import NOBODY, PRICES, Routed
from tests.inference.test_writer_contract import REQUEST
from tests.servers.ollama import Fault, OllamaLike
from tests.servers.openai import OpenAILike, running_openai_like

OPEN = {"allowed": True, "collections": ["default"], "prices": PRICES}


def openai(server: OpenAILike, **more: Any) -> dict[str, Any]:
    return {"kind": "openai", "url": server.base_url, "api_key": "secret", **more}


async def answered(writer: RoutedWriter, **given: Any) -> list[Piece]:
    return [piece async for piece in writer.write(replace(REQUEST, user="ada", **given))]


@pytest.mark.parametrize("fault", ["", "hang", "error_500", "busy_429", "garbage", "cut", "error_midway"])
async def test_a_private_question_is_sent_to_no_cloud_however_local_servers_fail(
    fault: Fault, ollama_like: OllamaLike, openai_like: OpenAILike, routed_writer: Routed
) -> None:
    ollama_like.fault = fault
    ollama = {"url": ollama_like.url, "queue_timeout": 0.3}
    async with routed_writer(ollama=ollama, providers=[openai(openai_like)], cloud=OPEN) as writer:
        pieces = await answered(writer)
    assert "".join(piece.text for piece in pieces).strip()
    assert openai_like.calls == []


async def test_without_any_local_server_a_private_answer_is_extractive_and_says_why(
    openai_like: OpenAILike, routed_writer: Routed
) -> None:
    async with routed_writer(providers=[openai(openai_like)], cloud=OPEN) as writer:
        assert writer.name == "extractive"
        pieces = await answered(writer)
    assert pieces[-1].model == "extractive"
    assert PRIVATE in pieces[-1].note
    assert openai_like.calls == []


async def test_marked_shareable_but_cloud_not_allowed(openai_like: OpenAILike, routed_writer: Routed) -> None:
    async with routed_writer(providers=[openai(openai_like)]) as writer:
        pieces = await answered(writer, shareable=True, agreed=True)
    assert pieces[-1].model == "extractive"
    assert openai_like.calls == []


async def test_allowed_and_marked_shareable(openai_like: OpenAILike, routed_writer: Routed) -> None:
    async with routed_writer(providers=[openai(openai_like)], cloud=OPEN) as writer:
        pieces = await answered(writer, shareable=True)
    assert "written in Rust [1]" in "".join(piece.text for piece in pieces)
    assert pieces[0].waited is not None
    assert sum(piece.cost for piece in pieces) > 0
    assert len(openai_like.chats) == 1


async def test_a_cloud_sees_only_what_is_meant_for_it(
    ollama_like: OllamaLike, openai_like: OpenAILike, routed_writer: Routed
) -> None:
    """A model here sees the conversation, too; where it fails, that stays here."""
    ollama_like.fault = "error_500"
    outside = [ChatMessage("user", "Question: hello?")]
    given = {"ollama": {"url": ollama_like.url}, "providers": [openai(openai_like)], "cloud": OPEN}
    async with routed_writer(**given) as writer:
        await answered(writer, shareable=True, outside=outside)
    assert [call.body["messages"][0]["content"] for call in ollama_like.chats] == [REQUEST.messages[0].text]
    assert [call.body["messages"] for call in openai_like.chats] == [[{"content": "Question: hello?", "role": "user"}]]


async def test_the_readers_word_alone_opens_nothing(openai_like: OpenAILike, routed_writer: Routed) -> None:
    async with routed_writer(providers=[openai(openai_like)], cloud=OPEN | {"ask": True}) as writer:
        await answered(writer, agreed=True)
    assert openai_like.calls == []


async def test_local_is_asked_first_even_where_cloud_may_be(
    ollama_like: OllamaLike, openai_like: OpenAILike, routed_writer: Routed
) -> None:
    given = {"ollama": {"url": ollama_like.url}, "providers": [openai(openai_like)], "cloud": OPEN}
    async with routed_writer(**given) as writer:
        pieces = await answered(writer, shareable=True)
    assert pieces[-1].model == "llama3.2:3b"
    assert openai_like.calls == []


async def test_models_that_ollama_only_hands_on_are_never_used(ollama_like: OllamaLike, routed_writer: Routed) -> None:
    ollama_like.models = {"llama3.2:3b": ["completion"], "gpt-oss:120b-cloud": ["completion"]}
    ollama_like.remote = {"llama3.2:3b": "https://ollama.com:443"}
    async with routed_writer(ollama={"url": ollama_like.url, "model": "gpt-oss:120b-cloud"}) as writer:
        pieces = await answered(writer)
    assert pieces[-1].model == "extractive"
    assert ollama_like.chats == []


async def test_an_ollama_on_another_machine_is_asked_only_when_trusted(
    ollama_like: OllamaLike, routed_writer: Routed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is this one's, but for the settings it is a name of elsewhere."""
    monkeypatch.setattr("inference.premises.NAMES", ())
    url = f"http://localhost:{ollama_like.port}"
    async with routed_writer(ollama={"url": url}) as writer:
        assert (await answered(writer))[-1].model == "extractive"
        assert "TRUSTED_HOSTS" in writer.status().advice
    assert ollama_like.chats == []
    async with routed_writer(ollama={"url": url, "trusted_hosts": ["localhost"]}) as writer:
        assert (await answered(writer))[-1].model == "llama3.2:3b"


async def test_a_server_of_ones_own_counts_as_local_and_costs_nothing(
    openai_like: OpenAILike, routed_writer: Routed
) -> None:
    mine = {"kind": "compatible", "name": "vllm", "url": openai_like.base_url, "model": openai_like.model}
    async with routed_writer(providers=[mine]) as writer:
        pieces = await answered(writer)
        assert writer.name == openai_like.model
    assert "Rust" in "".join(piece.text for piece in pieces)
    assert sum(piece.cost for piece in pieces) == 0


async def test_tracers_in_the_environment_see_no_prompt(
    ollama_like: OllamaLike, routed_writer: Routed, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_openai_like() as tracer:
        for name, value in {
            "LANGSMITH_TRACING": "true",
            "LANGCHAIN_TRACING_V2": "true",
            "LANGSMITH_ENDPOINT": tracer.url,
            "LANGSMITH_API_KEY": "k",
            "HTTP_PROXY": tracer.url,
            "ALL_PROXY": tracer.url,
        }.items():
            monkeypatch.setenv(name, value)
        async with routed_writer(ollama={"url": ollama_like.url}) as writer:
            assert (await answered(writer))[-1].model == "llama3.2:3b"
        assert tracer.requests == 0


async def test_keys_and_documents_never_cross_a_network_in_the_clear(routed_writer: Routed) -> None:
    plain = {"kind": "compatible", "url": "http://models.example.org/v1", "model": "m"}
    with pytest.raises(ConfigurationError, match="https"):
        async with routed_writer(providers=[plain]):
            pass


@pytest.mark.parametrize(
    ("url", "here"),
    [
        (NOBODY, True),
        ("http://localhost:11434", True),
        ("http://[::1]:11434", True),
        ("http://127.8.9.1", True),
        ("http://host.docker.internal:11434", True),
        ("http://192.168.1.5:11434", False),
        ("http://127.0.0.1.example.org", False),
        ("http://localhost.example.org", False),
        ("http://127.0.0.1@example.org", False),
        ("https://api.openai.com/v1", False),
        ("", False),
    ],
)
def test_which_addresses_are_this_machine(url: str, here: bool) -> None:
    assert on_this_machine(url) is here
    assert on_this_machine("http://gpu.lan:11434", ["GPU.lan"])
