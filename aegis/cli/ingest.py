"""`aegis ingest`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

BATCH_FILES = 200
BATCH_BYTES = 50_000_000


@dataclass(slots=True)
class Gathered:
    """Files to send, and what was passed over with the reason."""

    files: list[Path] = field(default_factory=list[Path])
    refused: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    def refuse(self, path: Path, reason: str) -> None:
        self.refused.append({"source": str(path), "state": "failed", "reason": reason})


def gather(paths: Sequence[Path], max_bytes: int, known: frozenset[str]) -> Gathered:
    """Files named are always taken; from folders (recursively) those with a known suffix, hidden ones left out."""
    found = Gathered()
    for path in paths:
        if path.is_dir():
            _walk(path, found, known)
        elif path.exists():
            found.files.append(path)
        else:
            found.refuse(path, "There is no such file or folder.")
    found.files = [file for file in dict.fromkeys(found.files) if _readable(file, found, max_bytes)]
    return found


def _walk(folder: Path, found: Gathered, known: frozenset[str]) -> None:
    def unreadable(error: OSError) -> None:
        found.refuse(Path(error.filename), f"The folder cannot be read ({error.strerror}).")

    for place, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in known:
                found.files.append(Path(place) / name)


def _readable(file: Path, found: Gathered, max_bytes: int) -> bool:
    try:
        size = file.stat().st_size
        with file.open("rb"):
            pass
    except OSError as error:
        found.refuse(file, f"The file cannot be read ({error.strerror}).")
        return False
    if size > max_bytes:
        found.refuse(
            file,
            f"The file has {size:,} bytes, more than the {max_bytes:,} that are taken "
            "(AEGIS_INGESTION__MAX_FILE_BYTES).",
        )
        return False
    return True


def batches(files: Sequence[Path]) -> Iterator[list[Path]]:
    """Runs of files that fit one request."""
    batch: list[Path] = []
    size = 0
    for file in files:
        length = file.stat().st_size
        if batch and (len(batch) >= BATCH_FILES or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += length
    if batch:
        yield batch


def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders (taken recursively).")],
    collection: Annotated[str, typer.Option(help="Collection they belong to.")] = "default",
    tag: Annotated[list[str] | None, typer.Option(help="A tag; may be repeated.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from aegis.cli.client import run
    from aegis.cli.output import console, print_json
    from aegis.settings import Settings
    from retrieval.loaders.formats import supported_extensions

    found = gather(paths, Settings().ingestion.max_file_bytes, supported_extensions())

    async def work(client: httpx.AsyncClient) -> list[Any]:
        jobs = [await _send(client, batch, collection, tag or []) for batch in batches(found.files)]
        return await _wait(client, jobs, quiet=as_json)

    done = run("ingest", work) if found.files else []
    report = _report(done, found)
    if as_json:
        print_json(report)
    else:
        console.print(
            f"{report['files']} files: {report['files'] - report['unchanged'] - len(report['failures'])} taken in, "
            f"{report['unchanged']} unchanged, {len(report['failures'])} failed; {report['chunks']} new chunks."
        )
        for failure in report["failures"]:
            console.print(f"  {failure['source']}: {failure['reason']}", markup=False, style="red")
    if report["failures"]:
        raise typer.Exit(1)


def _report(jobs: Sequence[Any], found: Gathered) -> dict[str, Any]:
    failures = [*found.refused, *(failure for job in jobs for failure in job["failures"])]
    return {
        "jobs": [job["job_id"] for job in jobs],
        "files": len(found.refused) + sum(job["files"] for job in jobs),
        "unchanged": sum(job["unchanged"] for job in jobs),
        "chunks": sum(job["chunks"] for job in jobs),
        "failures": failures,
    }


async def _send(client: httpx.AsyncClient, files: Sequence[Path], collection: str, tags: Sequence[str]) -> str:
    from aegis.cli.client import call

    contents = await asyncio.to_thread(lambda: [(file.absolute(), file.read_bytes()) for file in files])
    answer = await call(
        client,
        "POST",
        "/api/v1/retrieval/ingest",
        files=[("files", (file.name, data)) for file, data in contents],
        data={"source": [file.as_uri() for file, _ in contents], "collection": collection, "tags": list(tags)},
    )
    return str(answer["job_id"])


async def _wait(client: httpx.AsyncClient, jobs: Sequence[str], *, quiet: bool) -> list[Any]:
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
                if job["state"] in ("done", "failed", "cancelled"):
                    done.append(job)
                    break
                await asyncio.sleep(0.2)
    return done
