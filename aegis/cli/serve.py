"""`aegis serve` and `aegis studio`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aegis.errors import ConfigurationError
from aegis.folder import current_owner, in_use
from aegis.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

ARENAS = 2  # of the C library's memory: up to eight per processor otherwise, which give little back
_M_ARENA_MAX = -8  # glibc's number for it
GRACE = 5  # seconds open streams get when the server is told to stop

OFFLINE = {
    "LANGSMITH_TRACING": "false",
    "TOKENIZERS_PARALLELISM": "false",  # a batch of one question waits for no second thread
    "LANGSMITH_TRACING_V2": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    "LANGGRAPH_NO_VERSION_CHECK": "true",
    "GRAPHITI_TELEMETRY_ENABLED": "false",
}


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (AEGIS_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (AEGIS_PORT).")] = None,
) -> None:
    from aegis.telemetry import configure_logging
    from api.guard import refuse_open

    given: dict[str, Any] = {key: value for key, value in {"host": host, "port": port}.items() if value is not None}
    settings = Settings(**given)
    configure_logging(settings.log_level)
    os.environ.update(OFFLINE)
    refuse_open(settings)
    refuse_second_owner(settings)
    keep_few_arenas()
    gc.disable()  # nothing that is imported becomes garbage; looking for some takes a fifth of the start
    with listening_socket(settings) as taken, asyncio.Runner(loop_factory=_quick_loop()) as runner:
        runner.run(_serve(settings, taken))
    gc.freeze()  # the end of the interpreter looks for garbage several times


def studio() -> None:
    settings = Settings()
    refuse_second_owner(settings)
    with listening_socket(settings):
        pass
    root = Path(__file__).resolve().parents[2]
    print(f"langgraph dev on {settings.address} (the graph is `rag`; /docs there is LangGraph's own).", flush=True)
    command = [sys.executable, "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload", "--allow-blocking"]
    arguments = ["--host", settings.host, "--port", str(settings.port)]
    environment = {
        **os.environ,
        **OFFLINE,
        "PYTHONPATH": str(root),
        "AEGIS_DATA_DIR": str(settings.folder),
        "AEGIS_COMMAND": "studio",
        "MALLOC_ARENA_MAX": str(ARENAS),
    }
    if os.name == "posix":  # one process, so that a signal to it is a signal to the server
        os.chdir(root)
        os.execve(sys.executable, [*command, *arguments], environment)  # noqa: S606 - no shell is meant
    code = subprocess.run([*command, *arguments], cwd=root, env=environment, check=False).returncode
    raise typer.Exit(code)


def _quick_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """libuv's, which takes a fifth less for a request; None, for Python's own, where there is none (Windows)."""
    if sys.platform == "win32":
        return None
    from uvloop import new_event_loop

    return new_event_loop


def keep_few_arenas() -> None:
    """Before the first thread. A quarter of the memory after some hundred questions; nothing where it is not glibc."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)


def refuse_second_owner(settings: Settings) -> None:
    """Before seconds of imports: the same sentence that taking the folder would end in."""
    owner = current_owner(settings.folder)
    if owner is not None:
        raise in_use(settings.folder, owner)


def listening_socket(settings: Settings) -> socket.socket:
    """Raises ConfigurationError when the port cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # By its protocol asyncio knows that TCP_NODELAY is wanted; else every answer waits 40 ms for an acknowledgement.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if os.name == "posix":  # on Windows the option would let two servers share the port
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((settings.host, settings.port))
        made.listen()  # from here on nobody else has it, and who connects waits until we have started
    except OSError as error:
        made.close()
        raise ConfigurationError(
            f"Port {settings.port} on {settings.host} cannot be used ({error.strerror}). "
            "Choose another: AEGIS_PORT=8001 make run"
        ) from error
    return made


async def _serve(settings: Settings, taken: socket.socket) -> None:
    import uvicorn

    from api.app import opened
    from ui.served import create_served_app

    app = create_served_app()
    async with opened(app, settings, command="serve"):
        gc.enable()
        config = uvicorn.Config(
            app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=GRACE, server_header=False
        )
        announcing = asyncio.create_task(_announce(settings, app))
        killing = signal.signal(signal.SIGTERM, _stopping)
        try:
            await uvicorn.Server(config).serve(sockets=[taken])
        finally:
            signal.signal(signal.SIGTERM, killing)
            announcing.cancel()
            await asyncio.wait({announcing})


def _stopping(_number: int, _frame: object) -> None:
    """Uvicorn has a handler of its own, and raises the signal again when it has stopped."""


async def _announce(settings: Settings, app: FastAPI) -> None:
    await app.state.services.prepared()
    print(f"AegisRAG is ready: {settings.address}/chat   (Ctrl+C stops it)", flush=True)
