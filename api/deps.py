"""What routers are handed. Each takes the narrowest thing; all come from `app.state.services`, opened by the lifespan.

`scope_of` is the one place a Scope is made; REST, streams and the page all go through it.
(Dependencies are `async` because FastAPI sends plain functions to a thread.)
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Path, Query
from starlette.requests import HTTPConnection

from aegis.database import Database
from aegis.errors import Unavailable
from aegis.scope import Scope, local_scope
from aegis.settings import Settings
from agents.ground import Meanings
from agents.why import Why
from inference.routing import RoutedWriter
from inference.sharing import Sharing
from memory.conversations import Conversations
from memory.facts import Facts, Neighbourhoods
from memory.facts.audit import Auditor
from memory.facts.conflicts import Conflicts
from memory.facts.consolidation import Consolidation
from memory.facts.control import FactControl
from memory.facts.summaries import Summaries
from memory.reading.reader import ModelReader
from memory.recalls import AnswerRecalls
from memory.standing import StandingQuestions
from retrieval.blobs import Blobs
from retrieval.catalogue import Catalogue
from retrieval.ingestion import Ingestion
from retrieval.ingestion.erasing import Eraser
from retrieval.privacy import Privacy
from retrieval.search import Searcher


def _services(connection: HTTPConnection) -> Any:
    services = getattr(connection.app.state, "services", None)
    if services is None:
        raise Unavailable("The server is starting or stopping; try again shortly.", retry_after=2)
    return services


async def scope_of(connection: HTTPConnection) -> Scope:
    """The only authentication yet is `none`, so the caller is the local user."""
    return local_scope(await _services(connection).catalogue.collections())


async def settings(connection: HTTPConnection) -> Settings:
    return _services(connection).settings


async def searcher(connection: HTTPConnection) -> Searcher:
    return _services(connection).searcher


async def why(connection: HTTPConnection) -> Why:
    services = _services(connection)
    candidates = services.settings.retrieval.candidates
    meanings = Meanings(services.static.embed, services.closer.nearest)
    return Why(services.catalogue, services.ingestion, services.searcher, services.index, meanings, candidates)


async def catalogue(connection: HTTPConnection) -> Catalogue:
    return _services(connection).catalogue


async def ingestion(connection: HTTPConnection) -> Ingestion:
    return _services(connection).ingestion


async def privacy(connection: HTTPConnection) -> Privacy:
    return _services(connection).privacy


async def blobs(connection: HTTPConnection) -> Blobs:
    return _services(connection).blobs


async def database(connection: HTTPConnection) -> Database:
    return _services(connection).database


async def projections(connection: HTTPConnection) -> Any:
    return _services(connection).projections


async def reindexing(connection: HTTPConnection) -> Any:
    return _services(connection).reindexing


async def conversations(connection: HTTPConnection) -> Conversations:
    return _services(connection).conversations


async def standing(connection: HTTPConnection) -> StandingQuestions:
    return _services(connection).standing


async def recalls(connection: HTTPConnection) -> AnswerRecalls:
    return _services(connection).recalls


async def sharing(connection: HTTPConnection) -> Sharing:
    return _services(connection).sharing


async def writer(connection: HTTPConnection) -> RoutedWriter:
    return _services(connection).writer


async def facts(connection: HTTPConnection) -> Facts:
    return _services(connection).facts


async def fact_control(connection: HTTPConnection) -> FactControl:
    return _services(connection).fact_control


async def eraser(connection: HTTPConnection) -> Eraser:
    return _services(connection).eraser


async def conflicts(connection: HTTPConnection) -> Conflicts:
    return _services(connection).conflicts


async def auditor(connection: HTTPConnection) -> Auditor:
    return _services(connection).auditor


async def reading(connection: HTTPConnection) -> ModelReader:
    return _services(connection).reading


async def consolidation(connection: HTTPConnection) -> Consolidation:
    return _services(connection).consolidation


async def summaries(connection: HTTPConnection) -> Summaries:
    return _services(connection).summaries


async def neighbourhoods(connection: HTTPConnection) -> Neighbourhoods:
    return _services(connection).neighbourhoods


ScopeOf = Annotated[Scope, Depends(scope_of)]
SettingsOf = Annotated[Settings, Depends(settings)]
Limit = Annotated[int, Query(ge=1, le=500, description="Most items of a page")]
Cursor = Annotated[str, Query(max_length=200, pattern=r"^[A-Za-z0-9_.:|+-]*$", description="`next` of the page before")]
MOST = 2**31 - 1  # what every store takes as a whole number
Place = Annotated[int, Query(ge=0, le=MOST, description="`next` of the page before")]
NO_NUL = r"^[^\x00]*$"  # PostgreSQL takes none
Id = Annotated[str, Path(max_length=64, pattern=NO_NUL)]
