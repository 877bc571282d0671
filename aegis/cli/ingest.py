"""`aegis ingest`."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import httpx
import typer

MOST_TOLD = 10  # disagreements shown after taking files in
BATCH_FILES = 200
BATCH_BYTES = 50_000_000
MOST_SOURCE = 2000  # characters of an address that the API takes


@dataclass(slots=True)
class Gathered:
    """Files to send, and what was passed over with the reason."""

    files: list[Path] = field(default_factory=list[Path])
    refused: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    def refuse(self, path: Path, reason: str) -> None:
        self.refused.append({"source": str(path), "state": "failed", "reason": reason})


def gather(paths: Sequence[Path], max_bytes: int, known: frozenset[str]) -> Gathered:
    """Files named are always taken; from folders (recursively) those with a known suffix, hidden ones left out.

    Paths come out absolute and without `..`, so that a file is the same from wherever it is named.
    """
    found = Gathered()
    for path in paths:
        place = Path(os.path.abspath(path))
        if os.path.isdir(place):
            _walk(place, found, known)
        else:
            found.files.append(place)
    found.files = [file for file in dict.fromkeys(found.files) if _acceptable(file, found, max_bytes)]
    return found


def known_files(paths: Sequence[Path]) -> list[Path]:
    """Those of them that are files of a kind that is taken from folders."""
    from retrieval.loaders.formats import supported_extensions

    known = supported_extensions()
    return [path for path in paths if path.suffix.lower() in known and path.is_file()]


def _walk(folder: Path, found: Gathered, known: frozenset[str]) -> None:
    def unreadable(error: OSError) -> None:
        found.refuse(Path(error.filename), f"The folder cannot be read ({error.strerror}).")

    for place, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in known:
                found.files.append(Path(place) / name)


def _acceptable(file: Path, found: Gathered, max_bytes: int) -> bool:
    reason = _objection(file, max_bytes)
    if reason:
        found.refuse(file, reason)
    return not reason


def _objection(file: Path, max_bytes: int) -> str:
    """Why it cannot be sent; empty when it can. Nothing is opened that is not a file: a pipe would never answer."""
    try:
        seen = file.stat()
        if not stat.S_ISREG(seen.st_mode):
            return "It is not a file but a pipe, socket or device."
        with file.open("rb"):
            pass
    except FileNotFoundError:
        return "It is a link that leads nowhere." if file.is_symlink() else "There is no such file or folder."
    except OSError as error:
        return f"The file cannot be read ({error.strerror})."
    if seen.st_size > max_bytes:
        return _too_large(f"{seen.st_size:,}", max_bytes)
    if len(file.as_uri()) > MOST_SOURCE:
        return f"Its address is longer than {MOST_SOURCE:,} characters. Move it to a shorter path."
    return ""


def _too_large(size: str, max_bytes: int) -> str:
    return f"The file has {size} bytes; at most {max_bytes:,} are taken (AEGIS_INGESTION__MAX_FILE_BYTES)."


def batches(
    files: Sequence[Path], most_files: int = BATCH_FILES, most_bytes: int = BATCH_BYTES
) -> Iterator[list[Path]]:
    """Runs of files that fit one request."""
    batch: list[Path] = []
    size = 0
    for file in files:
        length = _size(file)
        if batch and (len(batch) >= most_files or size + length > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += length
    if batch:
        yield batch


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # gone since; reading it says so
        return 0


def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders (taken recursively).")],
    collection: Annotated[str, typer.Option(help="Collection they belong to.")] = "default",
    tag: Annotated[list[str] | None, typer.Option(help="A tag; may be repeated.")] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Nothing of them leaves this machine, whatever the settings allow.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove documents whose files are gone from these folders.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Agree to what reading by a paid model costs without being asked.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Then stay, and take in what changes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    form: dict[str, Any] = {"collection": collection, "tags": tag or [], **({"private": "yes"} if private else {})}
    report = take_in(paths, form, prune=prune, quiet=as_json)
    shown(report, as_json=as_json)
    if report["extraction"] is not None:
        from aegis.cli.extraction import decide

        decide(report["extraction"], yes=yes, quiet=as_json)
    if watch:
        from aegis.cli.watching import follow

        follow(paths, form, prune=prune, as_json=as_json)
    elif report["failures"] or report["waits"]:
        raise typer.Exit(1)


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
            found.refuse(file, _too_large(f"more than {max_bytes:,}", max_bytes))
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
