"""The child process that holds a Qdrant Edge shard. Run as a script by `edge_process.py`, never imported by it.

Every call into the engine holds the interpreter lock, so the engine gets an interpreter of its own. Messages come in
on stdin and go out on stdout: 8 bytes of header (length and request number, little endian), then a pickle. Requests
are answered one after another. The process ends when stdin does, so it never outlives the one that started it.

It imports the engine and the standard library only: numpy alone would add 15 MB.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import qdrant_edge as edge

from retrieval.store.unmapping import let_go
from retrieval.store.writeback import written_back

HEADER = struct.Struct("<II")
# Files of an indexed segment that no later write touches; the rest of it changes in place.
SEALED = (".json", "matrix.dat", "links_compressed.bin", "graph.bin", "inverted_index.dat", "id_tracker.mappings")
NOT_DAMAGE = ("No space left", "Permission denied", "Too many open files", "Cannot allocate memory", "Read-only file")
KEYWORDS = ("collection", "document", "type", "tags")
KINDS = {"keyword": edge.PayloadSchemaType.Keyword, "number": edge.PayloadSchemaType.Float}
PROBES = 24
RRF_K = 60
NICE = 10
PANIC = 70  # exit code after a panic in the engine


class Refused(Exception):
    """The answer to a request is an error: `kind` is damaged, locked, unusable, engine or invalid."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def configuration(dimensions: int) -> Any:
    dense = edge.EdgeVectorParams(
        size=dimensions, distance=edge.Distance.Cosine, datatype=edge.VectorStorageDatatype.Float16
    )
    return edge.EdgeConfig(
        vectors={"dense": dense},
        sparse_vectors={"sparse": edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
        # Half of the cores: searches go on while an index is built. Below 10 MB of matching vectors: exact.
        hnsw_config=edge.HnswIndexConfig(
            m=16,
            ef_construct=128,
            full_scan_threshold=10_000,
            max_indexing_threads=max(1, (os.cpu_count() or 2) // 2),
        ),
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=100, default_segment_number=1),
    )


class Shard:
    """One open shard. `folder` is a generation: the engine's files in `shard`, what we note about them beside it."""

    def __init__(self) -> None:
        self.folder = Path()
        self.engine: Any = None
        self.clean_start = True
        self.unindexed = 0
        self.touched: set[str] = set()

    # Opening and closing

    def create(self, folder: str, dimensions: int, fields: dict[str, str]) -> None:
        self.folder = Path(folder)
        path = self.folder / "shard"
        path.mkdir(parents=True)
        self.engine = edge.EdgeShard.create(str(path), configuration(dimensions))
        for field in KEYWORDS:
            self._index(field, edge.PayloadSchemaType.Keyword)
        self._index("date", edge.PayloadSchemaType.Float)
        self._index("visible_from", edge.PayloadSchemaType.Integer)
        self._index("visible_until", edge.PayloadSchemaType.Integer)
        for field, kind in fields.items():
            self._index(field, KINDS[kind])
        self.engine.flush()
        _write_json(self.folder / "about.json", {"dimensions": dimensions})

    def open(self, folder: str, dimensions: int, fields: dict[str, str], scan_seconds: float) -> int:
        """Returns how many points have no index. `scan_seconds`: for reading vectors after an unclean end."""
        self.folder = Path(folder)
        self._check_about(dimensions)
        clean = self._check_files()
        self._load(dimensions, fields)
        (self.folder / "clean.json").unlink(missing_ok=True)  # from here on the files change
        if not clean:
            self._check_vectors(scan_seconds)
            self._check_searches()
        self.engine.flush()
        self.unindexed = _appendable_points(self.folder / "shard")
        let_go(self.folder)
        return self.unindexed

    def close(self) -> None:
        """Leaves sizes and checksums of all files, so that the next start can tell whether they were touched."""
        if self.engine is None:
            return
        self.engine.flush()
        self.engine.close()
        self.engine = None
        _write_json(self.folder / "clean.json", _fingerprint(self.folder / "shard", lambda _: True))

    def _index(self, field: str, kind: Any) -> None:
        self.engine.update(edge.UpdateOperation.create_field_index(field, kind))

    def _load(self, dimensions: int, fields: dict[str, str]) -> None:
        path = self.folder / "shard"
        if not (path / "segments").is_dir():
            raise Refused("damaged", "the folder holds no segments")
        try:
            self.engine = edge.EdgeShard.load(str(path), configuration(dimensions))
        except Exception as error:
            raise _refusal(error, "damaged") from error
        wanted = {*KEYWORDS, "date", "visible_from", "visible_until", *fields}
        missing = wanted - set(self.engine.info().payload_schema)
        if missing:
            raise Refused("damaged", f"payload indexes are missing: {', '.join(sorted(missing))}")

    # Is what the files say still true? The engine loads many a damaged file without a word.

    def _check_about(self, dimensions: int) -> None:
        try:
            made_for = json.loads((self.folder / "about.json").read_text())["dimensions"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Refused("damaged", f"about.json cannot be read: {error}") from error
        if made_for != dimensions:
            raise Refused("damaged", f"made for vectors of {made_for} dimensions, {dimensions} are wanted")

    def _check_files(self) -> bool:
        """Against the checksums of the last clean end; without one, against those of files that never change."""
        for name in ("clean.json", "sealed.json"):
            try:
                known = json.loads((self.folder / name).read_text())
            except FileNotFoundError:
                continue
            except (OSError, ValueError):
                continue  # cut short by a crash: as good as absent, and searches are checked instead
            found = _fingerprint(self.folder / "shard", known.__contains__)
            changed = sorted(path for path in known if found.get(path) != known[path])
            if changed:
                raise Refused("damaged", f"{len(changed)} files changed while closed, first {changed[0]}")
            if name == "clean.json":
                return True
        return False

    def _check_vectors(self, seconds: float) -> None:
        """All-zero vectors are never stored, so one that is read means lost pages. From a random point onwards."""
        until = time.monotonic() + seconds
        for start in (str(uuid4()), None):
            for records in self._pages(start, vectors=True):
                for record in records:
                    if not record.payload or "visible_until" not in record.payload:
                        raise Refused("damaged", f"point {record.id} has lost its payload")
                    dense = record.vector.get("dense")
                    if dense is not None and not any(dense):
                        raise Refused("damaged", f"point {record.id} has lost its vector")
                if time.monotonic() > until:
                    return

    def _check_searches(self) -> None:
        """A few points must find themselves, or one as good, by either half and through the payload indexes."""
        start: str | None = str(uuid4())
        request = edge.ScrollRequest(offset=start, limit=PROBES, with_payload=True, with_vector=True)
        records, _ = self._engine_call(lambda: self.engine.scroll(request))
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
                    filter=edge.Filter(must=[condition, edge.FieldCondition("visible_until", range=_above(-1))]),
                )
                hits = self._engine_call(lambda asked=asked: self.engine.query(asked))
                if not hits or hits[0].score < least:
                    raise Refused("damaged", f"point {record.id} does not find itself by its {name} vector")

    def _engine_call(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            raise _refusal(error, "damaged") from error

    def _pages(self, offset: str | None, *, vectors: bool) -> Iterator[list[Any]]:
        while True:
            request = edge.ScrollRequest(
                offset=offset, limit=500, with_payload=True, with_vector=["dense"] if vectors else False
            )
            records, following = self._engine_call(lambda request=request: self.engine.scroll(request))
            yield records
            if following is None:
                return
            offset = str(following)

    # Writing: each returns how many points have no index by now

    def upsert(self, rows: list[tuple[str, bytes, tuple[int, ...], tuple[float, ...], dict[str, Any]]]) -> int:
        self.engine.update(edge.UpdateOperation.upsert_points([_point(*row) for row in rows]))
        return self._count_touched([row[0] for row in rows])

    def show(self, ids: list[str], visible_from: int, visible_until: int) -> int:
        # The engine refuses the whole call for one absent point.
        present: list[Any] = [
            str(record.id) for record in self.engine.retrieve(ids, with_payload=False, with_vector=False)
        ]
        if present:
            payload = {"visible_from": visible_from, "visible_until": visible_until}
            self.engine.update(edge.UpdateOperation.set_payload(present, payload))
        return self._count_touched(present)

    def delete(self, ids: list[Any]) -> int:
        self.engine.update(edge.UpdateOperation.delete_points(ids))
        return self._count_touched([])

    def flush(self) -> None:
        self.engine.flush()

    def _count_touched(self, ids: list[str]) -> int:
        self.touched.update(ids)
        return self.unindexed + len(self.touched)

    # Reading

    def query(
        self,
        condition: tuple[Any, ...],
        limit: int,
        dense: bytes | None,
        sparse: tuple[tuple[int, ...], tuple[float, ...]] | None,
    ) -> list[tuple[str, bytes]]:
        """For each half that was asked for (dense, sparse): its best points' ids, separated by spaces, and scores.
        Where both were, then the rest of each: how the points score in it that only the other found."""
        matching = _filter(*condition)
        asked = _asked(dense, sparse)
        found = self._batch([edge.QueryRequest(limit=limit, query=query, filter=matching) for query in asked])
        if len(asked) == 2:
            found += self._rests(asked, found)
        return [_packed(half) for half in found]

    def fused(
        self,
        condition: tuple[Any, ...],
        limit: int,
        dense: bytes,
        sparse: tuple[tuple[int, ...], tuple[float, ...]],
        weights: list[float] | None,
    ) -> tuple[str, bytes]:
        """Reciprocal ranks by these weights, distribution-based scores without."""
        matching = _filter(*condition)
        halves = [edge.Prefetch(limit=limit, query=query, filter=matching) for query in _asked(dense, sparse)]
        # The engine counts ranks from 0.
        fusion: Any = edge.Fusion.Dbsf() if weights is None else edge.Fusion.Rrf(k=RRF_K + 1, weights=weights)
        return _packed(self.engine.query(edge.QueryRequest(limit=limit, query=fusion, prefetches=halves)))

    def _rests(self, asked: list[Any], found: list[Any]) -> list[Any]:
        ids = [{hit.id for hit in half} for half in found]
        lacking = [ids[1] - ids[0], ids[0] - ids[1]]
        requests = [
            edge.QueryRequest(limit=len(lack), query=query, filter=edge.Filter(must=[edge.HasIdCondition(lack)]))
            for query, lack in zip(asked, lacking, strict=True)
            if lack
        ]
        rests = iter(self._batch(requests) if requests else [])
        return [next(rests) if lack else [] for lack in lacking]

    def _batch(self, requests: list[Any]) -> list[Any]:
        return list(self.engine.query_batch(edge.QueryBatchRequest(requests)))

    def page(self, offset: str | None) -> tuple[list[tuple[str, int, int]], str | None]:
        """Ids and epochs of up to 1,000 points, and where to go on."""
        fields = ["visible_from", "visible_until"]
        request = edge.ScrollRequest(offset=offset, limit=1000, with_payload=fields)
        records, following = self.engine.scroll(request)
        rows = [(str(r.id), int(r.payload["visible_from"]), int(r.payload["visible_until"])) for r in records]
        return rows, None if following is None else str(following)

    def count(self) -> int:
        return self.engine.count(edge.CountRequest(exact=True))

    # Building an index, on a copy

    def copy(self, source: str, target: str) -> None:
        passing = shutil.ignore_patterns(".atomicwrite*")  # the engine's own, gone in a moment
        shutil.copytree(Path(source) / "shard", Path(target) / "shard", ignore=passing)
        shutil.copy2(Path(source) / "about.json", Path(target) / "about.json")

    def optimize(self, folder: str, dimensions: int, fields: dict[str, str]) -> None:
        """In a process that ends afterwards. Where processors are short, whoever answers goes first."""
        if hasattr(os, "nice"):
            os.nice(NICE)
        self.folder = Path(folder)
        self._load(dimensions, fields)
        with written_back(self.folder):
            self.engine.optimize()
        self.unindexed = 0

    def replay(self, log: str, start: int, end: int) -> int:
        """Apply the writes recorded in [start, end) of a log; returns how many points have no index."""
        writes: dict[str, Callable[..., int]] = {"upsert": self.upsert, "show": self.show, "delete": self.delete}
        with open(log, "rb") as file:
            file.seek(start)
            while file.tell() < end:
                length, _ = HEADER.unpack(_exactly(file, HEADER.size))
                name, *arguments = pickle.loads(_exactly(file, length))
                writes[name](*arguments)
        return self._count_touched([])

    def seal(self) -> None:
        """Make durable, and note checksums of the files that stay as they are from here on."""
        self.engine.flush()
        shard = self.folder / "shard"
        built = {path.parent.parent.name for path in shard.glob("segments/*/vector_index-dense/hnsw_config.json")}

        def stays(path: str) -> bool:
            parts = path.split("/")
            return len(parts) > 2 and parts[1] in built and parts[-1].endswith(SEALED) and parts[2] != "segment.json"

        _write_json(self.folder / "sealed.json", _fingerprint(shard, stays))


def _point(
    identifier: str, dense: bytes, indices: tuple[int, ...], values: tuple[float, ...], payload: dict[str, Any]
) -> Any:
    vectors: dict[str, Any] = {}
    if dense:
        vectors["dense"] = _floats(dense)
    if indices:
        vectors["sparse"] = edge.SparseVector(list(indices), list(values))
    return edge.Point(identifier, vectors, payload)


def _asked(dense: bytes | None, sparse: tuple[tuple[int, ...], tuple[float, ...]] | None) -> list[Any]:
    asked: list[Any] = []
    if dense is not None:
        asked.append(edge.Query.Nearest(_floats(dense), using="dense"))
    if sparse is not None:
        asked.append(edge.Query.Nearest(edge.SparseVector(list(sparse[0]), list(sparse[1])), using="sparse"))
    return asked


def _packed(half: list[Any]) -> tuple[str, bytes]:
    return " ".join([str(hit.id) for hit in half]), struct.pack(f"{len(half)}d", *[hit.score for hit in half])


def _filter(
    collections: list[str],
    epoch: int,
    documents: list[str],
    types: list[str],
    tags: list[str],
    date_from: float | None,
    date_to: float | None,
    names: dict[str, list[str]],
    numbers: list[list[tuple[str, float | None, float | None]]],
) -> Any:
    conditions: list[Any] = [
        edge.FieldCondition("collection", match=edge.MatchAny(collections)),
        edge.FieldCondition("visible_from", range=edge.RangeFloat(lte=epoch)),
        edge.FieldCondition("visible_until", range=_above(epoch)),
    ]
    if documents:
        conditions.append(edge.FieldCondition("document", match=edge.MatchAny(documents)))
    if types:
        conditions.append(edge.FieldCondition("type", match=edge.MatchAny(types)))
    conditions += [edge.FieldCondition("tags", match=edge.MatchValue(tag)) for tag in tags]
    if date_from is not None or date_to is not None:
        conditions.append(edge.FieldCondition("date", range=edge.RangeFloat(gte=date_from, lte=date_to)))
    conditions += [edge.FieldCondition(name, match=edge.MatchAny(values)) for name, values in names.items()]
    conditions += [_one_of(group) for group in numbers]
    return edge.Filter(must=conditions)


def _one_of(group: list[tuple[str, float | None, float | None]]) -> Any:
    ranges: list[Any] = [
        edge.FieldCondition(name, range=edge.RangeFloat(gt=above, lte=upto)) for name, above, upto in group
    ]
    return ranges[0] if len(ranges) == 1 else edge.Filter(should=ranges)


def _above(epoch: int) -> Any:
    return edge.RangeFloat(gt=epoch)


def _floats(data: bytes) -> list[float]:
    return list(struct.unpack(f"{len(data) // 4}f", data))


def _appendable_points(shard: Path) -> int:
    """Points in segments that have no index: eight bytes of version each (deleted ones included)."""
    return sum(path.stat().st_size // 8 for path in shard.glob("segments/*/mutable_id_tracker.versions"))


def _fingerprint(folder: Path, wanted: Callable[[str], bool]) -> dict[str, list[int]]:
    """Path in the folder -> [size, CRC-32]."""
    found: dict[str, list[int]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and wanted(name):
            found[name] = [path.stat().st_size, _crc(path)]
    return found


def _crc(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            value = zlib.crc32(block, value)
    return value


def _write_json(path: Path, value: Any) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(value))
    os.replace(fresh, path)


def _refusal(error: Exception, kind: str) -> Refused:
    text = str(error)
    if "WouldBlock" in text:
        return Refused("locked", text)
    if any(sign in text for sign in NOT_DAMAGE):
        return Refused("unusable", text)
    if isinstance(error, (TypeError, ValueError, OverflowError)):
        return Refused("invalid", text)
    return Refused(kind, text)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _answer(shard: Shard, request: tuple[Any, ...]) -> tuple[str, Any]:
    name, *arguments = request
    try:
        return "ok", getattr(shard, name)(*arguments)
    except Refused as refused:
        return refused.kind, str(refused)
    except OSError as error:
        refused = _refusal(error, "unusable" if name in ("create", "copy") else "engine")
        return refused.kind, str(refused)
    except Exception as error:  # noqa: BLE001 -- the engine raises plain Exception for everything; the parent is told
        refused = _refusal(error, "engine")
        return refused.kind, str(refused)


def serve(incoming: BinaryIO, outgoing: BinaryIO) -> None:
    shard = Shard()
    while True:
        length, number = HEADER.unpack(_exactly(incoming, HEADER.size))
        request = pickle.loads(_exactly(incoming, length))
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
