"""What langgraph.json names. The services are opened by `http.app`'s lifespan; schema reads work before that."""

from __future__ import annotations

from typing import Any

from langchain_core.runnables import RunnableConfig

from aegis.errors import Unavailable
from aegis.services import Services, current
from agents.state import Context, State
from graphs.rag import Nodes, build
from graphs.wiring import graph_of

_made: dict[int, Any] = {}  # by identity of the services: LangGraph calls the factory for every run


def rag(config: RunnableConfig) -> Any:
    """The compiled graph over this process's services, or its outline while there are none."""
    try:
        services = current()
    except Unavailable:
        return _outline()
    return _compiled(services)


def _compiled(services: Services) -> Any:
    if id(services) not in _made:
        _made.clear()
        _made[id(services)] = graph_of(services, joined=False).compile(name="rag")
    return _made[id(services)]


def _outline() -> Any:
    async def unavailable(state: State, runtime: Any) -> dict[str, Any]:
        raise Unavailable("The server is starting or stopping; try again shortly.")

    async def nobody(context: Context) -> Any:
        raise Unavailable("The server is starting or stopping; try again shortly.")

    nodes = Nodes(**dict.fromkeys(Nodes.__dataclass_fields__, unavailable))
    return build(nodes, nobody).compile(name="rag")
