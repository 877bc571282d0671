"""Bodies of older turns in compressed files, beside the originals of documents, and back.

A file holds some turns of one conversation and is written once. Moving is safe at every moment: the row in
`turn_archives` is there before the file, the file is durable before a turn's row names it, and until then the body
stands in the turn's row. A file that no turn names is removed by `sweep`; so is one whose conversation was erased.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from aegis.database import Database
from aegis.database.schema import insert_missing
from aegis.errors import DataFolderError, NotFound
from aegis.scope import content_hash
from memory.conversations import KEPT, RECENT, Turn
from memory.conversations.record import COLUMNS, packed, turn_of, unpacked
from memory.conversations.tables import archives, conversations, turns
from retrieval.blobs import Blobs

LEAST = 10  # turns that are moved together, so that files are not many and compress well
MOST = 50  # turns of one file
LEVEL = 9  # of zstandard
OPEN_FILES = 8  # decompressed, at hand for the next read
LARGEST = 256_000_000  # bytes of a file, decompressed
STALE = timedelta(minutes=10)  # after which a file that is still being written has lost its writer

logger = logging.getLogger(__name__)


class Archive:
    def __init__(self, database: Database, blobs: Blobs, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self._read: OrderedDict[str, Mapping[str, Turn]] = OrderedDict()

    async def bodies(self, digests: Iterable[str]) -> Mapping[str, Turn]:
        """All turns of these files, by id; a file that has gone holds none. Raises StoreUnavailable."""
        files = await asyncio.gather(*(self._turns(digest) for digest in digests))
        return dict(itertools.chain.from_iterable(file.items() for file in files))

    async def due(self, limit: int = 100) -> list[str]:
        """Conversations with more than KEPT bodies in the relational store."""
        query = (
            select(turns.c.conversation_id)
            .where(turns.c.archive.is_(None), turns.c.state != "running")
            .group_by(turns.c.conversation_id)
            .having(func.count() > KEPT)
            .limit(limit)
        )
        async with self._database.read() as connection:
            return list((await connection.execute(query)).scalars())

    async def move(self, conversation_id: str) -> int:
        """Move the oldest bodies until at most KEPT are left; how many. Raises StoreUnavailable."""
        moved = 0
        while old := await self._oldest(conversation_id):
            if not await self._moved(conversation_id, old):
                break
            moved += len(old)
        return moved

    async def sweep(self, stale: timedelta = STALE) -> int:
        """Remove files of erased conversations, and those whose writer is gone; how many."""
        lost = (archives.c.state == "writing") & (archives.c.written_at <= self._clock() - stale)
        query = select(archives.c.digest).where((archives.c.state == "doomed") | lost)
        digests = await self._database.look(lambda c: list(c.execute(query).scalars()))
        for digest in digests:
            self._read.pop(digest, None)
            await self._blobs.delete(digest)
            async with self._database.write() as connection:
                await connection.execute(delete(archives).where(archives.c.digest == digest))
        return len(digests)

    async def _oldest(self, conversation_id: str) -> Sequence[Turn]:
        """What is moved next: nothing, or LEAST to MOST turns, never the last RECENT."""
        query = (
            select(turns)
            .where(turns.c.conversation_id == conversation_id, turns.c.archive.is_(None), turns.c.state != "running")
            .order_by(turns.c.ordinal)
        )
        counted = select(func.count()).select_from(query.subquery())
        async with self._database.read() as connection:
            count = int((await connection.execute(counted)).scalar_one())
            if count <= KEPT:
                return []
            wanted = min(MOST, max(LEAST, count - KEPT + LEAST), count - RECENT)
            rows = (await connection.execute(query.limit(wanted))).mappings().all()
        return [turn_of({key: row[key] for key in COLUMNS}, row["record"]) for row in rows]

    async def _moved(self, conversation_id: str, old: Sequence[Turn]) -> bool:
        data = await asyncio.to_thread(written, old)
        digest = content_hash(data)
        await self._announce(conversation_id, digest, len(old), len(data))
        await self._blobs.put(data)
        async with self._database.write() as connection:
            if await self._named(connection, conversation_id, digest, old):
                return True
            await connection.rollback()
        logger.info("Turns of %s changed while they were archived; they stay where they are", conversation_id)
        async with self._database.write() as connection:
            await connection.execute(update(archives).where(archives.c.digest == digest).values(state="doomed"))
        return False

    async def _announce(self, conversation_id: str, digest: str, count: int, size: int) -> None:
        row = {"digest": digest, "conversation_id": conversation_id, "turns": count, "size": size}
        async with self._database.write() as connection:
            await connection.execute(delete(archives).where(archives.c.digest == digest, archives.c.state == "writing"))
            new = insert_missing(archives, connection.dialect.name)
            await connection.execute(new.values(**row, state="writing", written_at=self._clock()))

    async def _named(self, connection: AsyncConnection, conversation_id: str, digest: str, old: Sequence[Turn]) -> bool:
        """False where a turn is no longer what was written, or the conversation is gone: the caller rolls back."""
        held = update(conversations).where(conversations.c.id == conversation_id)
        await connection.execute(held.values(version=conversations.c.version))
        for turn in old:
            as_written = (turns.c.id == turn.id, turns.c.state == turn.state, turns.c.archive.is_(None))
            same = (turns.c.question == turn.question, turns.c.answer == turn.answer)
            emptied = update(turns).where(*as_written, *same).values(question="", answer="", record={}, archive=digest)
            if not (await connection.execute(emptied)).rowcount:
                return False
        kept = update(archives).where(archives.c.digest == digest, archives.c.state == "writing")
        return bool((await connection.execute(kept.values(state="kept"))).rowcount)

    async def _turns(self, digest: str) -> Mapping[str, Turn]:
        if digest in self._read:
            self._read.move_to_end(digest)
            return self._read[digest]
        try:
            found = await asyncio.to_thread(read, await self._blobs.get(digest))
        except NotFound:
            if await self._lost(digest):
                raise DataFolderError(
                    f"The archive of older turns {digest} is missing at {self._blobs.address}. "
                    "Put it back from a backup; until then these turns cannot be read."
                ) from None
            return {}
        self._read[digest] = found
        if len(self._read) > OPEN_FILES:
            self._read.popitem(last=False)
        return found

    async def _lost(self, digest: str) -> bool:
        """Whether turns still name this file; otherwise they were erased with it."""
        query = select(turns.c.id).where(turns.c.archive == digest).limit(1)
        async with self._database.read() as connection:
            return (await connection.execute(query)).first() is not None


def written(told: Sequence[Turn]) -> bytes:
    """One JSON object a line, compressed."""
    import zstandard

    lines = b"\n".join(orjson.dumps(packed(turn)) for turn in told)
    return zstandard.ZstdCompressor(level=LEVEL).compress(lines)


def read(data: bytes) -> Mapping[str, Turn]:
    """Raises DataFolderError."""
    import zstandard

    try:
        lines: Any = zstandard.ZstdDecompressor().decompress(data, max_output_size=LARGEST)
        found = [unpacked(orjson.loads(line)) for line in lines.splitlines()]
    except (zstandard.ZstdError, ValueError, TypeError, KeyError) as error:
        raise DataFolderError(f"An archive of older turns cannot be read: {error}") from error
    return {turn.id: turn for turn in found}
