"""How the child and its parent talk: 8 bytes of header, then a pickle; a request may be refused."""

from __future__ import annotations

import struct
from typing import BinaryIO

HEADER = struct.Struct("<II")

NOT_DAMAGE = ("No space left", "Permission denied", "Too many open files", "Cannot allocate memory", "Read-only file")

PANIC = 70  # exit code after a panic in the engine


class Refused(Exception):
    """The answer to a request is an error: `kind` is damaged, locked, unusable, engine or invalid."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def refusal(error: Exception, kind: str) -> Refused:
    text = str(error)
    if "WouldBlock" in text:
        return Refused("locked", text)
    if any(sign in text for sign in NOT_DAMAGE):
        return Refused("unusable", text)
    if isinstance(error, (TypeError, ValueError, OverflowError)):
        return Refused("invalid", text)
    return Refused(kind, text)


def exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data
