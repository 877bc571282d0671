"""One open shard of Qdrant Edge."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from retrieval.shard.files import appendable_points, fingerprint, write_json
from retrieval.shard.filters import filter_of
from retrieval.shard.messages import HEADER, Refused, exactly, refusal
from retrieval.shard.points import asked_by, packed, point_of
from retrieval.shard.soundness import check_about, check_files, check_searches, check_vectors
from retrieval.shard.unmapping import let_go
from retrieval.shard.writeback import written_back

# Files of an indexed segment that no later write touches; the rest of it changes in place.
SEALED = (".json", "matrix.dat", "links_compressed.bin", "graph.bin", "inverted_index.dat", "id_tracker.mappings")

KEYWORDS = ("collection", "document", "type", "tags")
KINDS = {"keyword": edge.PayloadSchemaType.Keyword, "number": edge.PayloadSchemaType.Float}
RRF_K = 60
NICE = 10


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
        write_json(self.folder / "about.json", {"dimensions": dimensions})

    def open(self, folder: str, dimensions: int, fields: dict[str, str], scan_seconds: float) -> int:
        """Returns how many points have no index. `scan_seconds`: for reading vectors after an unclean end."""
        self.folder = Path(folder)
        check_about(self.folder, dimensions)
        clean = check_files(self.folder)
        self._load(dimensions, fields)
        (self.folder / "clean.json").unlink(missing_ok=True)  # from here on the files change
        if not clean:
            check_vectors(self.engine, scan_seconds)
            check_searches(self.engine)
        self.engine.flush()
        self.unindexed = appendable_points(self.folder / "shard")
        let_go(self.folder)
        return self.unindexed

    def close(self) -> None:
        """Leaves sizes and checksums of all files, so that the next start can tell whether they were touched."""
        if self.engine is None:
            return
        self.engine.flush()
        self.engine.close()
        self.engine = None
        write_json(self.folder / "clean.json", fingerprint(self.folder / "shard", lambda _: True))

    def _index(self, field: str, kind: Any) -> None:
        self.engine.update(edge.UpdateOperation.create_field_index(field, kind))

    def _load(self, dimensions: int, fields: dict[str, str]) -> None:
        path = self.folder / "shard"
        if not (path / "segments").is_dir():
            raise Refused("damaged", "the folder holds no segments")
        try:
            self.engine = edge.EdgeShard.load(str(path), configuration(dimensions))
        except Exception as error:
            raise refusal(error, "damaged") from error
        wanted = {*KEYWORDS, "date", "visible_from", "visible_until", *fields}
        missing = wanted - set(self.engine.info().payload_schema)
        if missing:
            raise Refused("damaged", f"payload indexes are missing: {', '.join(sorted(missing))}")

    # Writing: each returns how many points have no index by now

    def upsert(self, rows: list[tuple[str, bytes, tuple[int, ...], tuple[float, ...], dict[str, Any]]]) -> int:
        self.engine.update(edge.UpdateOperation.upsert_points([point_of(*row) for row in rows]))
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
        matching = filter_of(*condition)
        asked = asked_by(dense, sparse)
        found = self._batch([edge.QueryRequest(limit=limit, query=query, filter=matching) for query in asked])
        if len(asked) == 2:
            found += self._rests(asked, found)
        return [packed(half) for half in found]

    def fused(
        self,
        condition: tuple[Any, ...],
        limit: int,
        dense: bytes,
        sparse: tuple[tuple[int, ...], tuple[float, ...]],
        weights: list[float] | None,
    ) -> tuple[str, bytes]:
        """Reciprocal ranks by these weights, distribution-based scores without."""
        matching = filter_of(*condition)
        halves = [edge.Prefetch(limit=limit, query=query, filter=matching) for query in asked_by(dense, sparse)]
        # The engine counts ranks from 0.
        fusion: Any = edge.Fusion.Dbsf() if weights is None else edge.Fusion.Rrf(k=RRF_K + 1, weights=weights)
        return packed(self.engine.query(edge.QueryRequest(limit=limit, query=fusion, prefetches=halves)))

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
                length, _ = HEADER.unpack(exactly(file, HEADER.size))
                name, *arguments = pickle.loads(exactly(file, length))
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

        write_json(self.folder / "sealed.json", fingerprint(shard, stays))
