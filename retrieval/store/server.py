"""The vector store on a Qdrant server: one collection of ours there, every point with its scope as tenant field.

The same semantics as the embedded one, and the same BM25 vectors, so that both rank alike.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, TypeVar

from aegis.errors import IndexUnavailable
from aegis.settings import QdrantSettings
from retrieval.store import (
    RRF_K,
    Candidates,
    Dense,
    EngineFusion,
    Fields,
    Point,
    PointFilter,
    Scored,
    Sparse,
    Summary,
    VectorQuery,
    Visibility,
    missing,
)
from retrieval.store import checksum as part_of_checksum
from retrieval.store.checking import check_ids, check_point, check_query
from retrieval.store.payload import bounds, payload

logger = logging.getLogger(__name__)

BATCH = 100  # points per write
PAGE = 1000  # points per page of a summary

Answer = TypeVar("Answer")


class QdrantStore:
    """Over a client that somebody else closes. Call `prepare` once before anything else."""

    def __init__(
        self, client: Any, collection: str, dimensions: int, timeout: float = 10, fields: Fields | None = None
    ) -> None:
        self._client = client
        self._collection = collection
        self._dimensions = dimensions
        self._fields = dict(fields or {})
        self._timeout = timeout

    async def prepare(self) -> None:
        """Make the collection and its payload indexes where they are missing; safe when several replicas do so."""
        if not await self._ask(lambda: self._client.collection_exists(self._collection)):
            await self._create()
        known = (await self._ask(lambda: self._client.get_collection(self._collection))).payload_schema or {}
        missing = {field: schema for field, schema in self._indexes().items() if field not in known}
        for field, schema in missing.items():
            await self._ask(lambda field=field, schema=schema: self._index(field, schema))

    async def reset(self, reason: str) -> None:
        """Drop the collection and make it again, empty."""
        logger.info("The vector index %s is emptied: %s", self._collection, reason)
        await self.drop()
        await self.prepare()

    @property
    def was_reset(self) -> str | None:
        """Always None: a server that lost its points is found by comparing `summary()` with the catalogue."""
        return None

    async def drop(self) -> None:
        """Remove the collection from the server."""
        await self._ask(lambda: self._client.delete_collection(self._collection))

    # The port

    async def upsert(self, points: Sequence[Point]) -> None:
        for start in range(0, len(points), BATCH):
            batch = [self._record(point) for point in points[start : start + BATCH]]
            await self._ask(lambda batch=batch: self._client.upsert(self._collection, batch, wait=True))

    async def show(self, changes: Sequence[Visibility]) -> None:
        for change in changes:
            check_ids(change.ids)
            epochs = {"visible_from": change.visible_from, "visible_until": change.visible_until}
            for start in range(0, len(change.ids), BATCH):
                present = await self._present(change.ids[start : start + BATCH])
                if present:
                    await self._ask(
                        lambda present=present, epochs=epochs: self._client.set_payload(
                            self._collection, epochs, points=present, wait=True
                        )
                    )

    async def delete(self, ids: Sequence[str]) -> None:
        models = _models()
        check_ids(ids)
        for start in range(0, len(ids), BATCH):
            batch = models.PointIdsList(points=list(ids[start : start + BATCH]))
            await self._ask(lambda batch=batch: self._client.delete(self._collection, batch, wait=True))

    async def query(self, query: VectorQuery) -> Candidates:
        dense, sparse = check_query(query, self._dimensions)
        if dense is None and sparse is None:
            return Candidates()
        matching = _filter(query.filter)
        asked = _asked(dense, sparse)
        halves = await self._batch([_request(vector, name, matching, query.limit) for name, vector in asked])
        if dense is None:
            return Candidates(sparse=halves[0])
        if sparse is None:
            return Candidates(dense=halves[0])
        return Candidates(*halves, *await self._rests(asked, halves))

    async def fused(self, query: VectorQuery, fusion: EngineFusion, dense_weight: float = 0.5) -> list[Scored]:
        dense, sparse = check_query(query, self._dimensions)
        if dense is None or sparse is None:
            alone = await self.query(query)
            return alone.dense or alone.sparse
        models = _models()
        matching = _filter(query.filter)
        halves = [
            models.Prefetch(query=vector, using=name, filter=matching, limit=query.limit)
            for name, vector in _asked(dense, sparse)
        ]
        request = models.QueryRequest(prefetch=halves, query=_fusion(fusion, dense_weight), limit=query.limit)
        return (await self._batch([request]))[0]

    async def summary(self) -> Summary:
        """Pages through all points; exact only while nobody writes."""
        count = total = 0
        offset: Any = None
        while True:
            records, offset = await self._ask(
                lambda offset=offset: self._client.scroll(
                    self._collection,
                    limit=PAGE,
                    offset=offset,
                    with_payload=["visible_from", "visible_until"],
                    with_vectors=False,
                )
            )
            count += len(records)
            total += sum(
                part_of_checksum(str(r.id), int(r.payload["visible_from"]), int(r.payload["visible_until"]))
                for r in records
            )
            if offset is None:
                return Summary(count, total % 2**64)

    # Details

    async def _batch(self, requests: Sequence[Any]) -> list[list[Scored]]:
        if not requests:
            return []
        found = await self._ask(lambda: self._client.query_batch_points(self._collection, list(requests)))
        return [[Scored(str(hit.id), hit.score) for hit in half.points] for half in found]

    async def _rests(self, asked: Sequence[tuple[str, Any]], halves: Sequence[Sequence[Scored]]) -> list[list[Scored]]:
        models = _models()
        lacking = [missing(halves[0], halves[1]), missing(halves[1], halves[0])]
        requests = [
            _request(vector, name, models.Filter(must=[models.HasIdCondition(has_id=list(lack))]), len(lack))
            for (name, vector), lack in zip(asked, lacking, strict=True)
            if lack
        ]
        rests = iter(await self._batch(requests))
        return [next(rests) if lack else [] for lack in lacking]

    async def _present(self, ids: Sequence[str]) -> list[str]:
        """The server applies a change to the others and then fails when one id is not there."""
        records = await self._ask(
            lambda: self._client.retrieve(self._collection, list(ids), with_payload=False, with_vectors=False)
        )
        return [str(record.id) for record in records]

    def _record(self, point: Point) -> Any:
        models = _models()
        dense = check_point(point, self._dimensions)
        vectors: dict[str, Any] = {}
        if dense.any():  # nothing is like a vector of zeros
            vectors["dense"] = dense.tolist()
        if point.sparse.indices:
            vectors["sparse"] = _sparse(point.sparse)
        return models.PointStruct(id=point.id, vector=vectors, payload=payload(point))

    async def _create(self) -> None:
        models = _models()
        dense = models.VectorParams(
            size=self._dimensions, distance=models.Distance.COSINE, datatype=models.Datatype.FLOAT16
        )
        sparse = models.SparseVectorParams(modifier=models.Modifier.IDF)
        try:
            await self._ask(
                lambda: self._client.create_collection(
                    self._collection, vectors_config={"dense": dense}, sparse_vectors_config={"sparse": sparse}
                )
            )
        except IndexUnavailable:
            # Another replica may have been faster.
            if not await self._ask(lambda: self._client.collection_exists(self._collection)):
                raise

    async def _index(self, field: str, schema: Any) -> None:
        with warnings.catch_warnings():  # the client in memory says that it needs none
            warnings.filterwarnings("ignore", message="Payload indexes have no effect")
            await self._client.create_payload_index(self._collection, field, field_schema=schema, wait=True)

    def _indexes(self) -> dict[str, Any]:
        models = _models()
        kinds = models.PayloadSchemaType
        tenant = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
        integer = models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=False, range=True)
        return {
            "collection": tenant,
            "document": kinds.KEYWORD,
            "type": kinds.KEYWORD,
            "tags": kinds.KEYWORD,
            "date": kinds.FLOAT,
            "visible_from": integer,
            "visible_until": integer,
            **{name: kinds.KEYWORD if kind == "keyword" else kinds.FLOAT for name, kind in self._fields.items()},
        }

    async def _ask(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """Every call to the server: bounded, and its many errors translated to one."""
        try:
            async with asyncio.timeout(self._timeout):
                return await call()
        except TimeoutError as error:
            raise IndexUnavailable(f"the Qdrant server did not answer within {self._timeout:g} s") from error
        except _failures() as error:
            raise IndexUnavailable(f"the Qdrant server failed: {_reason(error)}") from error


def _asked(dense: Dense | None, sparse: Sparse | None) -> list[tuple[str, Any]]:
    asked: list[tuple[str, Any]] = []
    if dense is not None:
        asked.append(("dense", dense.tolist()))
    if sparse is not None:
        asked.append(("sparse", _sparse(sparse)))
    return asked


def _request(vector: Any, name: str, matching: Any, limit: int) -> Any:
    return _models().QueryRequest(query=vector, using=name, filter=matching, limit=limit)


def _fusion(fusion: EngineFusion, dense_weight: float) -> Any:
    models = _models()
    if fusion == "dbsf":
        return models.FusionQuery(fusion=models.Fusion.DBSF)
    weights = [2 * dense_weight, 2 - 2 * dense_weight]
    return models.RrfQuery(rrf=models.Rrf(k=RRF_K + 1, weights=weights))  # the server counts ranks from 0


def _filter(condition: PointFilter) -> Any:
    models = _models()

    def any_of(field: str, values: Sequence[str]) -> Any:
        return models.FieldCondition(key=field, match=models.MatchAny(any=list(values)))

    must = [
        any_of("collection", sorted(condition.collections)),
        models.FieldCondition(key="visible_from", range=models.Range(lte=condition.epoch)),
        models.FieldCondition(key="visible_until", range=models.Range(gt=condition.epoch)),
    ]
    if condition.documents:
        must.append(any_of("document", condition.documents))
    if condition.types:
        must.append(any_of("type", condition.types))
    must += [models.FieldCondition(key="tags", match=models.MatchValue(value=tag)) for tag in condition.tags]
    if condition.date_from is not None or condition.date_to is not None:
        dates = models.Range(gte=condition.date_from, lte=condition.date_to)
        must.append(models.FieldCondition(key="date", range=dates))
    must += [any_of(name, values) for name, values in condition.names.items()]
    must += [_one_of(group) for group in bounds(condition)]
    return models.Filter(must=must)


def _one_of(group: Sequence[tuple[str, float | None, float | None]]) -> Any:
    models = _models()
    ranges = [models.FieldCondition(key=name, range=models.Range(gt=above, lte=upto)) for name, above, upto in group]
    return ranges[0] if len(ranges) == 1 else models.Filter(should=ranges)


def _sparse(vector: Sparse) -> Any:
    return _models().SparseVector(indices=list(vector.indices), values=list(vector.values))


def _reason(error: Exception) -> str:
    details = getattr(error, "details", None)  # gRPC errors carry pages of debug text otherwise
    return str(details() if callable(details) else error)[:300]


@cache
def _models() -> Any:
    from qdrant_client import models

    return models


@cache
def _failures() -> tuple[type[Exception], ...]:
    import grpc
    import httpx
    from qdrant_client.common.client_exceptions import QdrantException
    from qdrant_client.http.exceptions import ApiException

    return (ApiException, QdrantException, grpc.RpcError, httpx.HTTPError, ConnectionError)


@asynccontextmanager
async def open_qdrant(
    settings: QdrantSettings, dimensions: int, collection: str = "chunks", fields: Fields | None = None
) -> AsyncGenerator[QdrantStore]:
    """Raises IndexUnavailable when no server answers. Each embedder's vectors live in a `collection` of their own."""
    from qdrant_client import AsyncQdrantClient

    client = AsyncQdrantClient(
        url=settings.url,
        grpc_port=settings.grpc_port,
        prefer_grpc=settings.prefer_grpc,
        api_key=None if settings.api_key is None else settings.api_key.get_secret_value(),
        timeout=max(1, round(settings.timeout)),
        check_compatibility=False,  # asks over the network while it is made, and only warns
    )
    try:
        store = QdrantStore(client, f"{settings.prefix}_{collection}", dimensions, settings.timeout, fields)
        await store.prepare()
        yield store
    finally:
        await client.close()
