"""`aegis doctor`: what works, what does not, and the one command or setting that mends it. Takes no lock."""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from aegis.errors import AegisError
from aegis.folder import FORMAT, current_owner, recorded_format
from aegis.settings import CrossEncoderSettings, EdgeSettings, Settings, SQLiteSettings, WordLlamaSettings

if TYPE_CHECKING:
    from inference.ollama_servers import ModelStatus

ENOUGH_DISK = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Finding:
    """`mend` is what to do; empty when nothing has to be done."""

    what: str
    state: Literal["ok", "warning", "problem"]
    says: str
    mend: str = ""


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    from aegis.cli.output import console, print_json

    findings = examine(Settings())
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        colours = {"ok": "green", "warning": "yellow", "problem": "red"}
        for finding in findings:
            console.print(f"{finding.state:8}", style=colours[finding.state], end=" ")
            console.print(f"{finding.what}: {finding.says}", markup=False, highlight=False)
            if finding.mend:
                console.print(f"         -> {finding.mend}", markup=False, highlight=False)
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(1)


def examine(settings: Settings) -> list[Finding]:
    checks: tuple[Callable[[Settings], Finding], ...] = (
        _python,
        _vector_engine,
        _embedder,
        _reranker,
        _cloud,
        _relational_engine,
        _folder,
        _disk,
        _port,
    )
    return [*(check(settings) for check in checks), *asyncio.run(_model_servers(settings))]


def _python(_: Settings) -> Finding:
    says = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding("Python", "ok", says)
    return Finding("Python", "problem", says, "Install Python 3.11, 3.12 or 3.13, then: make clean venv")


def _vector_engine(settings: Settings) -> Finding:
    if not isinstance(settings.vectors, EdgeSettings):
        return Finding("Qdrant", "ok", f"server at {settings.vectors.url}")
    try:
        edge = importlib.import_module("qdrant_edge")
        with tempfile.TemporaryDirectory() as folder:
            params = edge.EdgeVectorParams(size=2, distance=edge.Distance.Dot)
            edge.EdgeShard.create(folder, edge.EdgeConfig(vectors=params)).close()
    except ImportError as error:
        return Finding("Qdrant Edge", "problem", f"does not load here ({error})", "make clean venv")
    return Finding("Qdrant Edge", "ok", f"{importlib.metadata.version('qdrant-edge-py')} makes an index here")


def _embedder(settings: Settings) -> Finding:
    if not isinstance(settings.embedder, WordLlamaSettings):
        return _chosen_embedder(settings)
    try:
        from retrieval.embedding.wordllama import load_wordllama

        width = load_wordllama().embed_now(["a test"]).shape[1]
    except (ImportError, OSError) as error:
        mend = "make clean venv"
        if platform.machine().lower() in ("aarch64", "arm64") and platform.system() == "Linux":
            mend = "WordLlama has no wheel for Linux arm64: install g++ (apt install g++), then: make clean venv"
        return Finding("Embedding model", "problem", f"WordLlama does not load ({error})", mend)
    return Finding("Embedding model", "ok", f"WordLlama {importlib.metadata.version('wordllama')}, {width} dimensions")


def _chosen_embedder(settings: Settings) -> Finding:
    """It embeds a text, which is the one thing asked of it; but not where that is paid, which is the server's to do."""
    from inference.paying import price_of
    from inference.sharing import check_embedder
    from retrieval.embedding import open_embedder

    async def width() -> tuple[str, int]:
        async with open_embedder(settings.embedder) as embedder:
            return embedder.name, len(await embedder.embed_query("a test"))

    try:
        check_embedder(settings.embedder, settings)
        if price_of(settings.embedder, settings) is not None:
            return Finding("Embedding model", "ok", f"{settings.embedder.kind}, paid: not asked here")
        name, dimensions = asyncio.run(width())
    except AegisError as error:
        return Finding("Embedding model", "problem", error.message, "See AEGIS_EMBEDDER__ in docs/configuration.md")
    return Finding("Embedding model", "ok", f"{name}, {dimensions} dimensions")


def _reranker(settings: Settings) -> Finding:
    if not isinstance(settings.reranker, CrossEncoderSettings):
        return Finding("Reranking", "ok", "words compared by static embeddings")
    from retrieval.crossencoder import load_cross_encoder

    try:
        load_cross_encoder(settings.reranker)
    except AegisError as error:
        return Finding("Reranking", "problem", error.message, "See AEGIS_RERANKER__ in docs/configuration.md")
    return Finding("Reranking", "ok", f"the cross-encoder in {settings.reranker.folder} reads and ranks")


def _cloud(settings: Settings) -> Finding:
    """Whether what is configured may be asked at all, and at which price."""
    from inference.premises import is_cloud
    from inference.prices import price_advice, unpriced

    paid = [provider for provider in settings.providers if is_cloud(provider, settings)]
    if not paid:
        return Finding("Cloud models", "ok", "none is configured; nothing leaves this machine")
    names = ", ".join(f"{provider.name} ({provider.model})" for provider in paid)
    if not settings.cloud.allowed:
        return Finding("Cloud models", "ok", f"{names}: configured, but AEGIS_CLOUD__ALLOWED is not set: never asked")
    if missing := unpriced(settings):
        return Finding(
            "Cloud models", "problem", f"no price for {', '.join(missing)}: never asked", price_advice(missing)
        )
    return Finding("Cloud models", "ok", f"{names}; at most what the budgets allow")


def _relational_engine(settings: Settings) -> Finding:
    import sqlite3

    if isinstance(settings.database, SQLiteSettings):
        return Finding("SQLite", "ok", sqlite3.sqlite_version)
    return Finding("PostgreSQL", "ok", "configured; /health/ready of the server says whether it answers")


def _folder(settings: Settings) -> Finding:
    folder = settings.folder
    if not folder.exists():
        return Finding("Data folder", "ok", f"{folder} is made at the first start")
    owner = current_owner(folder)
    if owner is not None:
        return Finding("Data folder", "ok", f"{folder} is in use by {owner}")
    written = recorded_format(folder).get("format", FORMAT)
    if written > FORMAT:
        mend = "Install the newer AegisRAG, or set another folder with AEGIS_DATA_DIR."
        return Finding("Data folder", "problem", f"{folder} has format {written}, newer than {FORMAT}", mend)
    damaged = sorted(folder.rglob("*.damaged-*"))
    if damaged:
        mend = f"The index was rebuilt; delete {damaged[0]} when you do not want to examine it."
        return Finding("Data folder", "warning", f"{folder} holds a damaged index that was set aside", mend)
    return _writable(folder)


def _writable(folder: Path) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Finding("Data folder", "ok", f"{folder}, format {FORMAT}, free")
    except OSError as error:
        mend = f"chown it to yourself, or set another folder with AEGIS_DATA_DIR (now {folder})."
        return Finding("Data folder", "problem", f"cannot be written ({error.strerror})", mend)


def _disk(settings: Settings) -> Finding:
    place = next(parent for parent in (settings.folder, *settings.folder.parents) if parent.exists())
    free = shutil.disk_usage(place).free
    says = f"{free / 1024**3:.1f} GiB free at {place}"
    if free >= ENOUGH_DISK:
        return Finding("Disk", "ok", says)
    return Finding("Disk", "warning", says, "Free some space, or set AEGIS_DATA_DIR to a larger disk.")


def _port(settings: Settings) -> Finding:
    owner = current_owner(settings.folder)
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.settimeout(1)
        taken = probe.connect_ex((settings.host, settings.port)) == 0
    if not taken:
        return Finding("Port", "ok", f"{settings.port} on {settings.host} is free")
    if owner is not None and owner.url == settings.address:
        return Finding("Port", "ok", f"{settings.port} is this folder's own server")
    return Finding("Port", "problem", f"{settings.port} is taken by another program", "AEGIS_PORT=8001 make run")


async def _model_servers(settings: Settings) -> list[Finding]:
    from inference.ollama_servers import survey

    configured, *others = await survey(settings.ollama)
    findings = [_model_server(configured)]
    if configured.used is None:
        findings += [_model_server(seen) for seen in others if seen.reachable]
    return findings


def _model_server(seen: ModelStatus) -> Finding:
    if not seen.reachable:
        says = f"none answers at {seen.address}; answers are extracts from the documents"
    else:
        says = f"{seen.address} has {', '.join(seen.models) or 'no model that chats'}"
    return Finding("Model server", "warning" if seen.advice else "ok", says, seen.advice)
