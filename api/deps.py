"""What routers are handed. Each takes the narrowest thing; all come from `app.state.services`, opened by the lifespan.

`scope_of` is the one place a Scope is made; REST, streams and the page all go through it.
(Dependencies are `async` because FastAPI sends plain functions to a thread.)
"""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from fastapi import Depends, Query
from starlette.requests import HTTPConnection

from aegis.errors import Unavailable
from aegis.scope import DEFAULT_COLLECTION, LOCAL_USER, Scope
from aegis.settings import Settings
from memory.conversations import Conversations
from memory.facts import Facts, Neighbourhoods
from retrieval.catalogue import Catalogue
from retrieval.ingestion import Ingestion
from retrieval.search import Searcher


class Collections(Protocol):
    """The part of the catalogue that a scope is made from."""

    async def epoch(self) -> int: ...
    async def collections(self) -> frozenset[str]: ...


class LocalScope:
    """Scopes of `AEGIS_AUTH__KIND=none`: everyone is the user `local`, who sees every collection.

    The list of collections is kept until the epoch rises: nothing becomes visible without that.
    """

    def __init__(self, catalogue: Collections) -> None:
        self._catalogue = catalogue
        self._epoch = -1
        self._scope = Scope(LOCAL_USER, frozenset({DEFAULT_COLLECTION}), may_add_collections=True)

    async def current(self) -> Scope:
        epoch = await self._catalogue.epoch()
        if epoch != self._epoch:
            names = await self._catalogue.collections() | {DEFAULT_COLLECTION}
            self._scope = Scope(LOCAL_USER, names, may_add_collections=True)
            self._epoch = epoch
        return self._scope


def _services(connection: HTTPConnection) -> Any:
    services = getattr(connection.app.state, "services", None)
    if services is None:
        raise Unavailable("The server is starting or stopping; try again shortly.", retry_after=2)
    return services


async def scope_of(connection: HTTPConnection) -> Scope:
    """The only authentication yet is `none`, so the caller is the local user."""
    state = connection.app.state
    services = _services(connection)
    known = getattr(state, "local_scope", None)
    if known is None or state.local_scope_of is not services.catalogue:
        state.local_scope = known = LocalScope(services.catalogue)
        state.local_scope_of = services.catalogue
    return await known.current()


async def settings(connection: HTTPConnection) -> Settings:
    return _services(connection).settings


async def searcher(connection: HTTPConnection) -> Searcher:
    return _services(connection).searcher


async def catalogue(connection: HTTPConnection) -> Catalogue:
    return _services(connection).catalogue


async def ingestion(connection: HTTPConnection) -> Ingestion:
    return _services(connection).ingestion


async def conversations(connection: HTTPConnection) -> Conversations:
    return _services(connection).conversations


async def facts(connection: HTTPConnection) -> Facts:
    return _services(connection).facts


async def neighbourhoods(connection: HTTPConnection) -> Neighbourhoods:
    return _services(connection).neighbourhoods


ScopeOf = Annotated[Scope, Depends(scope_of)]
SettingsOf = Annotated[Settings, Depends(settings)]
Limit = Annotated[int, Query(ge=1, le=500, description="Most items of a page")]
Cursor = Annotated[str, Query(max_length=200, pattern=r"^[A-Za-z0-9_.:|+-]*$", description="`next` of the page before")]
