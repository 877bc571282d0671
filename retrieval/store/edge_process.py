"""A child process that holds a shard, as its parent sees it: requests, answers, its end."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from aegis.errors import IndexUnavailable, Overloaded
from retrieval.shard.messages import HEADER, PANIC, Refused

logger = logging.getLogger(__name__)

SCRIPT = Path(__file__).parents[1] / "shard" / "child.py"
PENDING = 1024  # requests under way in one child before further ones are turned away
KEPT_STDERR = 2000
# Ends that speak against the files: a panic, or an illegal instruction, abort, bus error, floating
# point or segmentation fault. Everything else comes from outside: an operator, or a system short of memory.
CRASHES = frozenset({PANIC, -4, -6, -7, -8, -10, -11})
WINDOWS_EXCEPTION = 0xC0000000


class Lost(Exception):
    """The child ended before it answered. `crashed` is false when somebody killed it from outside."""

    def __init__(self, reason: str, *, crashed: bool) -> None:
        super().__init__(reason)
        self.crashed = crashed


class Hung(Exception):
    """No answer in time."""


class Child:
    """Start with `start_child`. Requests may overlap; they are answered in the order they were sent."""

    def __init__(self, process: asyncio.subprocess.Process, on_end: Callable[[Child, Lost], None]) -> None:
        self._process = process
        self._stdin = cast(asyncio.StreamWriter, process.stdin)  # pipes: see start_child
        self._pending: dict[int, asyncio.Future[tuple[str, Any]]] = {}
        self._number = 0
        self._answered = 0
        self._ended: Lost | None = None
        self._stderr = ""
        self._on_end = on_end
        self._listening = asyncio.create_task(self._listen(cast(asyncio.StreamReader, process.stdout)))
        self._noting = asyncio.create_task(self._note(cast(asyncio.StreamReader, process.stderr)))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._ended is None

    async def request(self, name: str, *arguments: Any, timeout: float) -> Any:
        """Raises Lost, Hung, Refused, Overloaded."""
        return await self.send(pickle.dumps((name, *arguments), protocol=5), timeout)

    async def send(self, message: bytes, timeout: float) -> Any:
        if self._ended is not None:
            raise self._ended
        if len(self._pending) >= PENDING:
            raise Overloaded(f"{PENDING} requests to the vector index are waiting; try again shortly")
        self._number = number = (self._number + 1) % 2**32
        answered = self._answered
        future = self._pending[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout):
                if self._stdin.is_closing():  # uvloop would raise a bare RuntimeError
                    raise ConnectionResetError
                self._stdin.write(HEADER.pack(len(message), number))
                self._stdin.write(message)
                await self._stdin.drain()
                kind, value = await future
        except TimeoutError as error:
            if self._answered == answered:  # nothing came all the while: it will not come back
                self.kill()
            raise Hung(f"no answer within {timeout:g} s") from error
        except ConnectionError as error:
            self.kill()  # mostly dead already: its pipe is seen to close before its end is
            await asyncio.wait({self._listening}, timeout=1)
            raise self._ended or Lost("the child process closed its input", crashed=False) from error
        finally:
            self._pending.pop(number, None)
        if kind != "ok":
            raise Refused(kind, value)
        return value

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()

    async def close(self, timeout: float) -> None:
        """Let it finish what it was asked, then end; killed if that takes longer than `timeout` seconds."""
        try:
            await self.request("close", timeout=timeout)
        except (Lost, Hung, Refused, Overloaded) as error:  # its files are whole all the same, checked at next start
            logger.warning("The vector index was not closed cleanly: %s", error)
            self.kill()
        await self.ended()

    async def discard(self) -> None:
        self.kill()
        await self.ended()

    async def ended(self) -> None:
        self._stdin.close()
        try:
            await asyncio.wait_for(asyncio.shield(self._listening), 5)
        except TimeoutError:
            self.kill()
            await self._listening

    async def _listen(self, stdout: asyncio.StreamReader) -> None:
        try:
            while True:
                length, number = HEADER.unpack(await stdout.readexactly(HEADER.size))
                answer = pickle.loads(await stdout.readexactly(length))
                self._answered += 1
                future = self._pending.get(number)
                if future is not None and not future.done():
                    future.set_result(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            await self._process.wait()
            await asyncio.wait({self._noting}, timeout=1)
        finally:
            self._end()

    def _end(self) -> None:
        code = self._process.returncode
        crashed = code is not None and (code in CRASHES or code >= WINDOWS_EXCEPTION)
        last = self._stderr.strip().splitlines()[-1:] or [""]
        self._ended = Lost(f"the child process ended with code {code} {last[0]}".rstrip(), crashed=crashed)
        for future in self._pending.values():
            if not future.done():
                future.set_exception(self._ended)
                future.exception()  # its waiter may be gone already
        self._on_end(self, self._ended)

    async def _note(self, stderr: asyncio.StreamReader) -> None:
        while data := await stderr.read(4096):
            text = data.decode("utf-8", "replace")
            logger.debug("vector index: %s", text.rstrip())
            self._stderr = (self._stderr + text)[-KEPT_STDERR:]


async def start_child(on_end: Callable[[Child, Lost], None]) -> Child:
    """Raises IndexUnavailable when no process can be started."""
    environment = {**os.environ, "MALLOC_ARENA_MAX": "2"}  # glibc keeps up to 8 arenas per core otherwise
    try:
        # Run by path and with -P: neither this package nor numpy is imported, nor is its folder searched.
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            str(SCRIPT),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            limit=1 << 20,
        )
    except OSError as error:
        raise IndexUnavailable(f"the vector index's process cannot be started: {error}") from error
    return Child(process, on_end)
