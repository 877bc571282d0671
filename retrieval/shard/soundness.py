"""Is what the files of a shard say still true? The engine loads many a damaged file without a word."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import qdrant_edge as edge

from retrieval.shard.files import fingerprint
from retrieval.shard.filters import above
from retrieval.shard.messages import Refused, refusal

PROBES = 24


def check_about(folder: Path, dimensions: int) -> None:
    try:
        made_for = json.loads((folder / "about.json").read_text())["dimensions"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused("damaged", f"about.json cannot be read: {error}") from error
    if made_for != dimensions:
        raise Refused("damaged", f"made for vectors of {made_for} dimensions, {dimensions} are wanted")


def check_files(folder: Path) -> bool:
    """Against the checksums of the last clean end; without one, against those of files that never change."""
    for name in ("clean.json", "sealed.json"):
        try:
            known = json.loads((folder / name).read_text())
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            continue  # cut short by a crash: as good as absent, and searches are checked instead
        found = fingerprint(folder / "shard", known.__contains__)
        changed = sorted(path for path in known if found.get(path) != known[path])
        if changed:
            raise Refused("damaged", f"{len(changed)} files changed while closed, first {changed[0]}")
        if name == "clean.json":
            return True
    return False


def check_vectors(engine: Any, seconds: float) -> None:
    """All-zero vectors are never stored, so one that is read means lost pages. From a random point onwards."""
    until = time.monotonic() + seconds
    for start in (str(uuid4()), None):
        for records in _pages(engine, start):
            for record in records:
                if not record.payload or "visible_until" not in record.payload:
                    raise Refused("damaged", f"point {record.id} has lost its payload")
                dense = record.vector.get("dense")
                if dense is not None and not any(dense):
                    raise Refused("damaged", f"point {record.id} has lost its vector")
            if time.monotonic() > until:
                return


def check_searches(engine: Any) -> None:
    """A few points must find themselves, or one as good, by either half and through the payload indexes."""
    start: str | None = str(uuid4())
    request = edge.ScrollRequest(offset=start, limit=PROBES, with_payload=True, with_vector=True)
    records, _ = _asked_of_engine(lambda: engine.scroll(request))
    for record in records:
        vectors = record.vector if isinstance(record.vector, dict) else {}
        collection = str((record.payload or {}).get("collection"))
        condition = edge.FieldCondition("collection", match=edge.MatchAny([collection]))
        for name, least in (("dense", 0.9), ("sparse", 1e-9)):
            if name not in vectors:
                continue
            asked = edge.QueryRequest(
                limit=1,
                query=edge.Query.Nearest(vectors[name], using=name),
                filter=edge.Filter(must=[condition, edge.FieldCondition("visible_until", range=above(-1))]),
            )
            hits = _asked_of_engine(lambda asked=asked: engine.query(asked))
            if not hits or hits[0].score < least:
                raise Refused("damaged", f"point {record.id} does not find itself by its {name} vector")


def _asked_of_engine(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        raise refusal(error, "damaged") from error


def _pages(engine: Any, offset: str | None) -> Iterator[list[Any]]:
    while True:
        request = edge.ScrollRequest(offset=offset, limit=500, with_payload=True, with_vector=["dense"])
        records, following = _asked_of_engine(lambda request=request: engine.scroll(request))
        yield records
        if following is None:
            return
        offset = str(following)
