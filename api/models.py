"""Which models answer, and what is spent of the budgets that cloud calls are held against."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from agents.judge import Judge
from api import deps
from api.encoding import Json, StrictRoute
from api.schemas.models import JudgeBody, ModelsAnswer, VerdictAnswer
from inference.routing import RoutedWriter

WriterOf = Annotated[RoutedWriter, Depends(deps.writer)]
router = APIRouter(prefix="/api/v1/models", tags=["models"], route_class=StrictRoute)


@router.get("", response_model=ModelsAnswer)
async def models(scope: deps.ScopeOf, writer: WriterOf) -> Response:
    """Model servers with their state, and every budget with what is spent or set aside of it."""
    status = writer.status()
    used = [asdict(each) | {"share": round(each.share, 4)} for each in await writer.budgets.used(scope.user)]
    servers = [asdict(server) for server in status.servers]
    missing = [writer.missing_prices] if writer.missing_prices else []
    warnings = [*missing, *await writer.budget_warnings(scope.user)]
    told = {"answers": writer.name, "advice": status.advice, "clouds": writer.clouds, "warnings": warnings}
    return Json(told | {"servers": servers, "budgets": used})


@router.post("/judge", response_model=VerdictAnswer)
async def judge(body: JudgeBody, scope: deps.ScopeOf, writer: WriterOf) -> Response:
    """Grade an answer by the model of judges, on this machine; 503 where there is no language model."""
    judged = await Judge(writer)(body.question, body.answer, body.evidence, body.reference, scope.user)
    return Json(asdict(judged))
