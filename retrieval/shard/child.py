"""The child process that holds a Qdrant Edge shard. A script, which `retrieval/store/edge_process.py` runs.

Every call into the engine holds the interpreter lock, so the engine gets an interpreter of its own. Messages come in
on stdin and go out on stdout: 8 bytes of header (length and request number, little endian), then a pickle. Requests
are answered one after another. The process ends when stdin does, so it never outlives the one that started it.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from typing import Any, BinaryIO

from retrieval.shard.messages import HEADER, PANIC, Refused, exactly, refusal
from retrieval.shard.shard import Shard


def _answer(shard: Shard, request: tuple[Any, ...]) -> tuple[str, Any]:
    name, *arguments = request
    try:
        return "ok", getattr(shard, name)(*arguments)
    except Refused as refused:
        return refused.kind, str(refused)
    except OSError as error:
        refused = refusal(error, "unusable" if name in ("create", "copy") else "engine")
        return refused.kind, str(refused)
    except Exception as error:  # noqa: BLE001 -- the engine raises plain Exception for everything; the parent is told
        refused = refusal(error, "engine")
        return refused.kind, str(refused)


def serve(incoming: BinaryIO, outgoing: BinaryIO) -> None:
    shard = Shard()
    while True:
        length, number = HEADER.unpack(exactly(incoming, HEADER.size))
        request = pickle.loads(exactly(incoming, length))
        answer = pickle.dumps(_answer(shard, request), protocol=5)
        outgoing.write(HEADER.pack(len(answer), number) + answer)
        outgoing.flush()


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent closes us in order
    incoming = os.fdopen(os.dup(0), "rb")
    outgoing = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing but answers may go where the answers go
    try:
        serve(incoming, outgoing)
    except (EOFError, BrokenPipeError):
        os._exit(0)  # the parent is gone or wants no more; what was confirmed is in the engine's log
    except BaseException as panic:  # noqa: BLE001 -- a panic of the engine is a BaseException; its state is lost
        if not isinstance(panic, KeyboardInterrupt | SystemExit):
            sys.stderr.write(f"{type(panic).__name__}: {panic}\n")
            sys.stderr.flush()
        os._exit(PANIC)
    return 0


if __name__ == "__main__":
    sys.exit(main())
