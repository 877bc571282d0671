"""Ingestion jobs: how far they are, what became of each file."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header
from starlette.responses import Response

from aegis.errors import AegisError
from aegis.scope import Scope
from api import deps
from api.encoding import Json, StrictRoute
from api.schemas.jobs import FileAnswer, FilesAnswer, JobAnswer, JobsAnswer
from api.streaming import EventStream, frame
from retrieval.ingestion import Ingestion, Job

router = APIRouter(prefix="/api/v1/retrieval", tags=["retrieval"], route_class=StrictRoute)

Jobs = Annotated[Ingestion, Depends(deps.ingestion)]


@router.get("/jobs", response_model=JobsAnswer)
async def jobs(scope: deps.ScopeOf, ingestion: Jobs, limit: deps.Limit = 50, cursor: deps.Cursor = "") -> Response:
    """Newest first. `cursor` is the id of the last job of the page before."""
    found = await ingestion.jobs(scope, limit=limit + 1, before=cursor)
    page = found[:limit]
    more = len(found) > limit
    return Json({"jobs": [job_answer(job) for job in page], "next": page[-1].id if more else None})


_JOB_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/event-stream": {
                "itemSchema": {
                    "type": "object",
                    "required": ["event", "data"],
                    "properties": {
                        "event": {"const": "job"},
                        "data": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "contentSchema": {"$ref": "#/components/schemas/JobAnswer"},
                        },
                    },
                }
            }
        }
    }
}


@router.get("/jobs/{job_id}", response_model=JobAnswer, responses=_JOB_RESPONSES)
async def job(job_id: deps.Id, scope: deps.ScopeOf, ingestion: Jobs, accept: Annotated[str, Header()] = "") -> Response:
    """The job now; with `Accept: text/event-stream`, events `job` at each change until it has ended."""
    found = await ingestion.job(scope, job_id)
    if "text/event-stream" in accept:
        return EventStream(_watched(ingestion, scope, job_id))
    return Json(job_answer(found))


async def _watched(ingestion: Ingestion, scope: Scope, job_id: str) -> AsyncGenerator[bytes]:
    try:
        async for job in ingestion.watch(scope, job_id):
            yield frame("job", job_answer(job))
    except AegisError as error:
        yield frame("error", {"code": error.code, "message": error.message})


@router.get("/jobs/{job_id}/files", response_model=FilesAnswer)
async def files(
    job_id: deps.Id,
    scope: deps.ScopeOf,
    ingestion: Jobs,
    limit: deps.Limit = 100,
    cursor: deps.Place = 0,
) -> Response:
    """What became of each file."""
    found = await ingestion.files(scope, job_id, after=cursor, limit=limit + 1)
    page = found[:limit]
    more = len(found) > limit
    answers = [FileAnswer.model_validate(report).model_dump() for report in page]
    return Json({"reports": answers, "next": str(cursor + limit) if more else None})


@router.delete("/jobs/{job_id}", response_model=JobAnswer)
async def cancel(job_id: deps.Id, scope: deps.ScopeOf, ingestion: Jobs) -> Response:
    """Stop the job; what it has published stays, what it has not is dropped."""
    return Json(job_answer(await ingestion.cancel(scope, job_id)))


@router.post("/jobs/{job_id}/cancel", response_model=JobAnswer)
async def cancel_by_post(job_id: deps.Id, scope: deps.ScopeOf, ingestion: Jobs) -> Response:
    """The same for clients that cannot send DELETE."""
    return await cancel(job_id, scope, ingestion)


@router.post("/jobs/{job_id}/retry", response_model=JobAnswer)
async def retry(job_id: deps.Id, scope: deps.ScopeOf, ingestion: Jobs) -> Response:
    """Take the files that failed up again, but for those that a later job has taken in since."""
    return Json(job_answer(await ingestion.retry(scope, job_id)))


def job_answer(job: Job) -> dict[str, Any]:
    told = {
        "failures": [FileAnswer.model_validate(report) for report in job.failures],
        "warnings": [FileAnswer.model_validate(report) for report in job.warnings],
        "waits": None if job.waits is None else FileAnswer.model_validate(job.waits),
    }
    return JobAnswer.model_validate({"job_id": job.id, **told, **_counts(job)}).model_dump(mode="json")


def _counts(job: Job) -> dict[str, Any]:
    names = ("state", "files", "done", "chunks", "unchanged", "seconds_left", "created_at", "updated_at")
    return {name: getattr(job, name) for name in names}
