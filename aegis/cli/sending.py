"""Files sent to a server, waited for, and what is told of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import httpx

from aegis.cli.gathering import BATCH_BYTES, BATCH_FILES, Gathered, batches, gather, too_large

MOST_TOLD = 10  # disagreements shown after taking files in


def take_in(paths: Sequence[Path], form: Mapping[str, Any], *, prune: bool, quiet: bool) -> dict[str, Any]:
    """What became of the files there; through the running server, or in this process."""
    from aegis.cli.client import run
    from aegis.settings import Settings
    from retrieval.loaders.formats import supported_extensions

    bounds, places = Settings().ingestion, [Path(os.path.abspath(path)) for path in paths]
    found = gather(places, bounds.max_file_bytes, supported_extensions())
    most = min(BATCH_FILES, bounds.max_files), min(BATCH_BYTES, bounds.max_file_bytes)

    async def work(client: httpx.AsyncClient) -> tuple[list[Any], list[str], list[str], Any]:
        sent = [await _send(client, batch, found, bounds.max_file_bytes, form) for batch in batches(found.files, *most)]
        jobs = await wait_for(client, [job_id for job_id in sent if job_id], quiet=quiet)
        removed = await _pruned(client, places, form["collection"]) if prune else []
        return jobs, removed, await _disagreements(client, jobs), await _to_pay(client, jobs)

    nothing: tuple[list[Any], list[str], list[str], Any] = ([], [], [], None)
    jobs, removed, disagreements, to_pay = run("ingest", work) if found.files or prune else nothing
    return {**_report(jobs, found), "removed": removed, "disagreements": disagreements, "extraction": to_pay}


def shown(report: Mapping[str, Any], *, as_json: bool) -> None:
    from aegis.cli.output import console, line, print_json

    if as_json:
        print_json(report)
        return
    removed = f" {len(report['removed'])} documents removed." if report["removed"] else ""
    console.print(
        f"{report['files']} files: {report['files'] - report['unchanged'] - len(report['failures'])} taken in, "
        f"{report['unchanged']} unchanged, {len(report['failures'])} failed; {report['chunks']} new chunks.{removed}"
    )
    for failure in report["failures"]:
        console.print(f"  {line(failure['source'])}: {line(failure['reason'])}", markup=False, style="red")
    for waiting in report["waits"]:
        console.print(f"  {line(waiting['reason'])}", markup=False, style="yellow")
        console.print("  What is in stays in; the rest follows by itself when there is money: aegis jobs", markup=False)
    for marked in report["warnings"]:
        console.print(f"  {line(marked['source'])}: {line(marked['warning'])}", markup=False, style="yellow")
    for told in report["disagreements"][:MOST_TOLD]:
        console.print(f"  {line(told)}", markup=False, style="yellow")
    if len(report["disagreements"]) > MOST_TOLD:
        console.print(f"  and {len(report['disagreements']) - MOST_TOLD} more: aegis memory conflicts")


async def _pruned(client: httpx.AsyncClient, places: Sequence[Path], collection: str) -> list[str]:
    """Sources of the documents removed: those of files that were in these folders (or were these files)."""
    from aegis.cli.client import call

    # A folder that is not there may be a drive that is not mounted: nothing of it is removed.
    folders = [f"{place.as_uri().rstrip('/')}/" for place in places if place.is_dir()]
    named = {place.as_uri() for place in places if place.parent.is_dir() and not place.exists()}
    removed: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        query = {"collection": collection, "limit": 500, **({"cursor": cursor} if cursor else {})}
        page = await call(client, "GET", "/api/v1/documents", params=query)
        for entry in page["documents"]:
            source = entry["source"]
            if (source in named or source.startswith(tuple(folders))) and _gone(source):
                await call(client, "DELETE", f"/api/v1/documents/{entry['id']}")
                removed.append(source)
        cursor = page["next"]
    return removed


def _gone(source: str) -> bool:
    return not os.path.lexists(url2pathname(urlsplit(source).path))


async def _disagreements(client: httpx.AsyncClient, jobs: Sequence[Any]) -> list[str]:
    """Where what came in says otherwise than other documents, each once."""
    from aegis.cli.client import call

    path = "/api/v1/memory/conflicts"
    found = [await call(client, "GET", path, params={"job": job["job_id"]}) for job in jobs if job["chunks"]]
    return list(dict.fromkeys(one["told"] for answer in found for one in answer["conflicts"]))


async def _to_pay(client: httpx.AsyncClient, jobs: Sequence[Any]) -> Any:
    """What reading by a paid model would cost, where there is one and something to read; None otherwise."""
    from aegis.cli.client import call

    if not any(job["chunks"] for job in jobs):
        return None
    told = await call(client, "GET", "/api/v1/memory/extraction")
    return told if told["estimate"] is not None else None


def _report(jobs: Sequence[Any], found: Gathered) -> dict[str, Any]:
    failures = [*found.refused, *(failure for job in jobs for failure in job["failures"])]
    return {
        "jobs": [job["job_id"] for job in jobs],
        "files": len(found.refused) + sum(job["files"] for job in jobs),
        "unchanged": sum(job["unchanged"] for job in jobs),
        "chunks": sum(job["chunks"] for job in jobs),
        "failures": failures,
        "warnings": [warning for job in jobs for warning in job["warnings"]],
        "waits": [job["waits"] for job in jobs if out_of_money(job)],
    }


async def _send(
    client: httpx.AsyncClient, files: Sequence[Path], found: Gathered, max_bytes: int, form: Mapping[str, Any]
) -> str | None:
    """The job's id; None when nothing of these files was accepted, for the reasons that `found` then has."""
    from aegis.cli.client import Refused, call

    contents = await asyncio.to_thread(lambda: _contents(files, found, max_bytes))
    if not contents:
        return None
    try:
        answer = await call(
            client,
            "POST",
            "/api/v1/retrieval/ingest",
            files=[("files", (_form_name(file), data)) for file, data in contents],
            data={"source": [file.as_uri() for file, _ in contents], **form},
        )
    except Refused as error:
        for file, _ in contents:
            found.refuse(file, error.message)
        return None
    return str(answer["job_id"])


def _contents(files: Sequence[Path], found: Gathered, max_bytes: int) -> list[tuple[Path, bytes]]:
    """What can be read now; a file may have gone or grown since it was looked at."""
    contents: list[tuple[Path, bytes]] = []
    for file in files:
        try:
            with file.open("rb") as opened:
                data = opened.read(max_bytes + 1)
        except OSError as error:
            found.refuse(file, f"The file cannot be read ({error.strerror}).")
            continue
        if len(data) > max_bytes:
            found.refuse(file, too_large(f"more than {max_bytes:,}", max_bytes))
        else:
            contents.append((file, data))
    return contents


def out_of_money(job: Mapping[str, Any]) -> bool:
    """It goes on by itself when there is money again, which nobody waits for in front of a terminal."""
    return job["waits"] is not None and job["waits"]["code"] == "budget_exhausted"


def _form_name(file: Path) -> str:
    """Its name for the form, which takes UTF-8 only; what it is known by is its address."""
    return file.name.encode("utf-8", "replace").decode()


async def wait_for(client: httpx.AsyncClient, jobs: Sequence[str], *, quiet: bool) -> list[Any]:
    from rich.progress import Progress, SpinnerColumn, TimeRemainingColumn

    from aegis.cli.client import call
    from aegis.cli.output import errors

    done: list[Any] = []
    with Progress(
        SpinnerColumn(), *Progress.get_default_columns(), TimeRemainingColumn(), console=errors, disable=quiet
    ) as bar:
        for number, job_id in enumerate(jobs, 1):
            task = bar.add_task(f"Job {number} of {len(jobs)}", total=None)
            while True:
                job = await call(client, "GET", f"/api/v1/retrieval/jobs/{job_id}")
                bar.update(task, completed=job["done"], total=job["files"], description=f"{job['chunks']} chunks")
                if job["state"] in ("done", "failed", "cancelled") or out_of_money(job):
                    done.append(job)
                    break
                await asyncio.sleep(0.2)
    return done
