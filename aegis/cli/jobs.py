"""`aegis jobs`."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
import typer


def jobs(
    job_id: Annotated[str | None, typer.Argument(help="One job, with its files.")] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel that job.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Take its failed files up again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from aegis.cli.client import call, run
    from aegis.cli.output import print_json, print_table
    from aegis.cli.sending import wait_for
    from aegis.errors import InvalidInput

    if (cancel or retry) and job_id is None:
        raise InvalidInput("Name the job: aegis jobs JOB --cancel, or --retry")

    async def work(client: httpx.AsyncClient) -> Any:
        if job_id is None:
            return await call(client, "GET", "/api/v1/retrieval/jobs")
        if cancel:
            return await call(client, "DELETE", f"/api/v1/retrieval/jobs/{job_id}")
        if retry:
            await call(client, "POST", f"/api/v1/retrieval/jobs/{job_id}/retry")
            return (await wait_for(client, [job_id], quiet=as_json))[0]
        job = await call(client, "GET", f"/api/v1/retrieval/jobs/{job_id}")
        return {**job, "reports": await _reports(client, job_id)}

    found = run("jobs", work)
    if as_json:
        print_json(found)
    elif job_id is None:
        rows = ((job["job_id"], job["state"], f"{job['done']}/{job['files']}", job["chunks"]) for job in found["jobs"])
        print_table(("job", "state", "files", "chunks"), rows)
    elif cancel or retry:
        print(f"{job_id}: {found['state']}, {len(found['failures'])} failed")
    else:
        rows = (
            (row["source"], row["state"], row["chunks"], row["reason"] or row["warning"] or row["stage"] or "")
            for row in found["reports"]
        )
        print_table(("source", "state", "chunks", "reason"), rows)


async def _reports(client: httpx.AsyncClient, job_id: str) -> list[Any]:
    from aegis.cli.client import call

    found: list[Any] = []
    cursor: str | None = "0"
    while cursor:
        query = {"cursor": cursor, "limit": 100}
        page = await call(client, "GET", f"/api/v1/retrieval/jobs/{job_id}/files", params=query)
        found, cursor = found + page["reports"], page["next"]
    return found
