"""What can be asked for an answer: the Ollama servers here, those elsewhere, and each server with OpenAI's protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from aegis.errors import ConfigurationError
from aegis.settings import ModelRole, OllamaSettings, Settings
from inference.circuit import Circuits
from inference.ollama_servers import OllamaServers
from inference.openai import AnyOpenAI, OpenAIWriter
from inference.pool import Member, Pool
from inference.premises import is_cloud, on_this_machine


@dataclass(frozen=True, slots=True)
class Source:
    """A pool in the order of asking. `local`: what is sent there stays on this machine."""

    name: str
    local: bool
    pool: Pool
    model_for: Callable[[ModelRole], str | None]
    window: Callable[[str], int]  # a model's name -> tokens of a prompt
    paid: bool = False
    max_tokens: int = 0
    timeout: float = 0.0


def ollama_source(settings: OllamaSettings, servers: OllamaServers, *, local: bool) -> Source:
    def model_for(role: ModelRole) -> str | None:
        return servers.model_for(role, local=local)

    name, pool = ("ollama", servers.here) if local else ("ollama elsewhere", servers.elsewhere)

    def window(model: str) -> int:
        return servers.window(model)

    return Source(name, local, pool, model_for, window)


def remote_source(settings: Settings, provider: AnyOpenAI, stack: AsyncExitStack) -> Source:
    local = not is_cloud(provider, settings)
    if not local and provider.url.startswith("http:") and not on_this_machine(provider.url):
        raise ConfigurationError(
            f"The address of {provider.name} in AEGIS_PROVIDERS is {provider.url}: a key and documents would cross the "
            "network in the clear. Use https."
        )
    writers: dict[str, OpenAIWriter] = {}

    def opened(model: str) -> OpenAIWriter:
        if model not in writers:
            writers[model] = OpenAIWriter(provider, model, trust_env=not on_this_machine(provider.url))
            stack.push_async_callback(writers[model].close)
        return writers[model]

    circuit = Circuits(provider.failures, provider.rest).of(provider.name)
    member = Member(provider.url, circuit, opened, frozenset(provider.every_model), probed=False)
    pool = Pool([member], parallel=provider.parallel, queue=provider.queue, queue_timeout=provider.queue_timeout)
    return Source(
        provider.name,
        local,
        pool,
        provider.model_for,
        lambda model: provider.window - provider.max_tokens,
        paid=not local,
        max_tokens=provider.max_tokens,
        timeout=provider.timeout + provider.queue_timeout,
    )


def check_names(sources: Sequence[Source]) -> None:
    names = [source.name for source in sources]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigurationError(f"Two entries of AEGIS_PROVIDERS are called {twice}: give each a name of its own.")
