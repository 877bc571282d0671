"""The hot tier on LoCoMo: bytes of a message in Redis before and after compression, and what that costs.

Each conversation's messages are told in pairs, as turns of ours with the record that an answered question has; every
RECENT turns are one block. Without a Redis server at AEGIS_TEST_REDIS_URL lengths of values are given instead of what
the server says a key takes.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from aegis.scope import derived_id
from evals.bench.datasets import dataset_folder, lines
from memory.conversations import RECENT, Turn
from memory.conversations.hot import Block
from memory.conversations.hot_redis import decoded, encoded
from memory.conversations.record import packed

VARIABLE = "AEGIS_TEST_REDIS_URL"
MESSAGES = 2 * RECENT  # of a block


def bench(*, quiet: bool = False, dataset: str = "locomo") -> dict[str, Any]:
    blocks = list(blocks_of(dataset))
    plain = [uncompressed(block) for block in blocks]
    begun = time.process_time()
    small = [encoded(block) or b"" for block in blocks]
    written = time.process_time()
    for data in small:
        decoded(data)
    read = time.process_time()
    texts = sum(len(turn.question.encode()) + len(turn.answer.encode()) for block in blocks for turn in block.turns)
    count = len(blocks) * MESSAGES
    before, after = sum(map(len, plain)) / count, sum(map(len, small)) / count
    found = {
        "blocks": len(blocks),
        "messages": count,
        "text_bytes": round(texts / count, 1),
        "bytes_before": round(before, 1),
        "bytes_after": round(after, 1),
        "saved": round(1 - after / before, 3),
        "encode_ms": round((written - begun) / len(blocks) * 1000, 3),
        "decode_ms": round((read - written) / len(blocks) * 1000, 3),
        **_in_redis(plain, small),
    }
    if not quiet:
        print(json.dumps(found, indent=1))  # noqa: T201  # a benchmark's own output
    return found


def uncompressed(block: Block) -> bytes:
    return orjson.dumps([block.version, [packed(turn) for turn in block.turns]])


def blocks_of(dataset: str) -> Iterator[Block]:
    for talk in lines(dataset_folder(dataset) / "conversations.jsonl"):
        said = [message["text"] for session in talk["sessions"] for message in session["turns"]]
        turns = [
            _turn(talk["id"], number, *pair) for number, pair in enumerate(zip(said[::2], said[1::2], strict=False))
        ]
        for start in range(0, len(turns) - RECENT + 1, RECENT):
            yield Block(start + RECENT, tuple(turns[start : start + RECENT]))


def _turn(talk: str, number: int, question: str, answer: str) -> Turn:
    """With what the graph records of small talk: nothing is found, nothing is cited."""
    return Turn(
        derived_id("turn", talk, number),
        derived_id("conversation", talk),
        question,
        state="done",
        answer=answer,
        standalone=question,
        route="converse",
        top_k=8,
        collections=("default",),
        prompt_version="2026-11-a",
        timings={"condense": 0.412, "recall": 0.021, "route": 0.105, "converse": 0.077},
        steps=tuple(
            {"node": node, "summary": summary, "took_ms": 0.1, "detail": {}}
            for node, summary in (("condense", f"Understood as: {question}"), ("route", "Small talk"))
        ),
        created_at=datetime.fromtimestamp(1_700_000_000 + number, UTC),
    )


def _in_redis(plain: Sequence[bytes], small: Sequence[bytes]) -> dict[str, float]:
    """What a server says that keys of these take, for each message."""
    url = os.environ.get(VARIABLE)
    if not url:
        return {}
    import redis

    def taken(client: Any, values: Sequence[bytes]) -> float:
        total = 0
        for value in values:
            client.set("aegis:bench", value, ex=60)
            total += client.memory_usage("aegis:bench")
        client.delete("aegis:bench")
        return total / (len(values) * MESSAGES)

    with redis.Redis.from_url(url) as client:
        before, after = taken(client, plain), taken(client, small)
    return {
        "redis_before": round(before, 1),
        "redis_after": round(after, 1),
        "redis_saved": round(1 - after / before, 3),
    }
