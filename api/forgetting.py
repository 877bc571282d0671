"""Forgetting documents and conversations, with a receipt that says how far it went in each store."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import Response

from aegis.database import Database
from aegis.errors import InvalidInput
from aegis.scope import Scope
from api import deps
from api.chat import AnsweringOf
from api.conversations import KeptOf
from api.encoding import Json, StrictRoute
from api.schemas.forgetting import ForgetBody, ForgottenAnswer
from retrieval.ingestion import Ingestion
from retrieval.ingestion.erasing import Eraser, Left

router = APIRouter(prefix="/api/v1/forget", tags=["operation"], route_class=StrictRoute)

NOT_FINDABLE: Left = "not findable"
OF_DOCUMENTS = ("documents", "chunks", "facts", "embeddings", "originals", "index", "cached answers")


@router.post("", response_model=ForgottenAnswer)
async def forget(
    body: ForgetBody,
    scope: deps.ScopeOf,
    kept: KeptOf,
    answering: AnsweringOf,
    ingestion: Annotated[Ingestion, Depends(deps.ingestion)],
    eraser: Annotated[Eraser, Depends(deps.eraser)],
    database: Annotated[Database, Depends(deps.database)],
) -> Response:
    """Nobody finds them from now on. With `erase` nobody can read them off the disk either, which rewrites the store
    and the index once and may take minutes. Answers that quote a document stay in their conversations."""
    if not body.documents and not body.conversations:
        raise InvalidInput("Name documents or conversations to forget.")
    conversations = [await _conversation(scope, one, kept, answering, erase=body.erase) for one in body.conversations]
    documents: list[dict[str, Any]] = []
    if body.documents and body.erase:
        erased = await eraser.erase(scope, body.documents)
        documents = [{"document_id": one.document_id, "stores": one.stores} for one in erased]
    elif body.erase:
        await database.compact()
    else:
        for one in body.documents:
            await ingestion.remove(scope, one)
            documents.append({"document_id": one, "stores": dict.fromkeys(OF_DOCUMENTS, NOT_FINDABLE)})
    return Json({"documents": documents, "conversations": conversations})


async def _conversation(
    scope: Scope, conversation_id: str, kept: KeptOf, answering: AnsweringOf, *, erase: bool
) -> dict[str, Any]:
    await kept.get(scope, conversation_id)
    run = answering.running(scope, conversation_id)
    if run is not None:
        await run.stop()
    receipt = await kept.delete(scope, conversation_id)
    left: Left = "erased from disk" if erase else NOT_FINDABLE
    stores = dict.fromkeys(("turns", "archives", *receipt.further), left)
    return {"conversation_id": conversation_id, "turns": receipt.turns, "stores": stores}
