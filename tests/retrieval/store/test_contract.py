"""What every vector store must do: a fake, Qdrant Edge, the Qdrant client in memory, a server where there is one."""

from __future__ import annotations

import os
import uuid
import warnings
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aegis.errors import IndexUnavailable, InvalidInput
from aegis.settings import EdgeSettings, QdrantSettings
from retrieval.keywords import KeywordEncoder
from retrieval.store import (
    Candidates,
    Fields,
    Point,
    PointFilter,
    Scored,
    Sparse,
    Summary,
    VectorQuery,
    VectorStore,
    Visibility,
    Within,
    checksum,
)
from retrieval.store.edge import open_edge
from retrieval.store.server import QdrantStore, open_qdrant
from tests.retrieval.store.fake import FakeStore
from tests.retrieval.store.points import DIMENSIONS, NEVER, axis, identifier, like, point, query, random_points

FIELDS: Fields = {"ends": "keyword", "since": "number", "until": "number"}


@pytest.fixture(params=["fake", "edge", "memory", pytest.param("server", marks=pytest.mark.servers)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[VectorStore]:
    match request.param:
        case "fake":
            yield FakeStore(DIMENSIONS)
        case "edge":
            async with open_edge(EdgeSettings(), tmp_path / "vectors", DIMENSIONS, fields=FIELDS) as opened:
                yield opened
        case "memory":
            from qdrant_client import AsyncQdrantClient

            client = AsyncQdrantClient(":memory:")
            kept = QdrantStore(client, "chunks", DIMENSIONS, fields=FIELDS)
            await kept.prepare()
            yield kept
            await client.close()
        case _:
            async with _on_server() as opened:
                yield opened


@asynccontextmanager
async def _on_server() -> AsyncGenerator[QdrantStore]:
    url = os.environ.get("AEGIS_TEST_QDRANT_URL")
    if not url:
        pytest.skip("no Qdrant server: set AEGIS_TEST_QDRANT_URL (and AEGIS_TEST_QDRANT_GRPC_PORT if not 6334)")
    port = int(os.environ.get("AEGIS_TEST_QDRANT_GRPC_PORT", "6334"))
    settings = QdrantSettings(url=url, grpc_port=port, prefix=f"test_{uuid.uuid4().hex}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of gRPC itself, when its channel closes
        async with open_qdrant(settings, DIMENSIONS, fields=FIELDS) as opened:
            try:
                yield opened
            finally:
                await opened.drop()


def _ids(hits: list[Scored]) -> list[str]:
    return [hit.id for hit in hits]


async def test_both_halves_put_the_best_first(store: VectorStore) -> None:
    close = (axis(1) + 0.5 * axis(2)) / np.float32(np.sqrt(1.25))
    await store.upsert([point(1), point(2, dense=close, sparse=Sparse((1, 2), (0.4, 1.0))), point(3)])
    found = await store.query(query(1))
    assert _ids(found.dense)[:2] == [identifier(1), identifier(2)]
    assert found.dense[0].score == pytest.approx(1, abs=1e-2)
    assert found.dense[1].score == pytest.approx(0.894, abs=1e-2)
    assert _ids(found.sparse) == [identifier(1), identifier(2)]
    assert found.sparse[0].score > found.sparse[1].score > 0


async def test_a_half_not_asked_for_is_empty_and_the_limit_holds_for_each(store: VectorStore) -> None:
    await store.upsert([point(number, sparse=Sparse((1,), (1.0,))) for number in range(1, 9)])
    assert len((await store.query(query(1, limit=3))).dense) == 3
    assert len((await store.query(query(1, limit=3))).sparse) == 3
    assert (await store.query(query(1, sparse=False))).sparse == []
    assert (await store.query(query(1, dense=False))).dense == []
    assert await store.query(query(1, dense=False, sparse=False)) == Candidates()
    assert await store.query(query(1, limit=0)) == Candidates()


async def test_each_half_tells_how_what_only_the_other_found_scores_in_it(store: VectorStore) -> None:
    both = (axis(1) + axis(2)) / np.float32(np.sqrt(2))
    await store.upsert(
        [point(1), point(2, dense=both, sparse=Sparse((1,), (0.1,))), point(3, sparse=Sparse((1,), (2.0,)))]
    )
    found = await store.query(query(1, limit=1))
    assert (_ids(found.dense), _ids(found.sparse)) == ([identifier(1)], [identifier(3)])
    assert (_ids(found.dense_rest), _ids(found.sparse_rest)) == ([identifier(3)], [identifier(1)])
    assert found.dense_rest[0].score == pytest.approx(0, abs=1e-3)
    assert found.sparse[0].score > found.sparse_rest[0].score > 0
    whole = await store.query(query(1))
    assert _ids(whole.sparse) == [identifier(3), identifier(1), identifier(2)]
    assert (whole.dense_rest, whole.sparse_rest) == ([], [])
    assert (await store.query(query(9, limit=1))).sparse_rest == []


async def test_reciprocal_ranks_are_fused_by_the_engine(store: VectorStore) -> None:
    await store.upsert(random_points(60, DIMENSIONS))
    asked = like(random_points(60, DIMENSIONS)[3], limit=20, collections=frozenset(f"c{n}" for n in range(5)))
    halves = await store.query(asked)
    expected = dict[str, float]()
    for half in (halves.dense, halves.sparse):
        for rank, hit in enumerate(half, 1):
            expected[hit.id] = expected.get(hit.id, 0.0) + 1 / (60 + rank)
    found = await store.fused(asked, "rrf")
    assert [hit.score for hit in found] == pytest.approx(sorted(expected.values(), reverse=True)[:20], abs=1e-4)
    assert all(expected[hit.id] == pytest.approx(hit.score, abs=1e-4) for hit in found)
    assert _ids(await store.fused(replace(asked, limit=1), "rrf", 0.9)) == _ids(halves.dense[:1])


async def test_distribution_based_scores_are_fused_by_the_engine(store: VectorStore) -> None:
    close = (axis(1) + 0.5 * axis(2)) / np.float32(np.sqrt(1.25))
    await store.upsert([point(1), point(2, dense=close, sparse=Sparse((1, 2), (0.4, 1.0))), point(3), point(4)])
    found = await store.fused(query(1, limit=3), "dbsf")
    assert _ids(found)[:2] == [identifier(1), identifier(2)]
    assert found[0].score > found[1].score > found[2].score


async def test_collections_never_see_each_other(store: VectorStore) -> None:
    await store.upsert(
        [point(1, collection="mine"), point(2, collection="yours", dense=axis(1), sparse=Sparse((1,), (9.0,)))]
    )
    for seen, wanted in (({"mine"}, {1}), ({"yours"}, {2}), ({"mine", "yours"}, {1, 2}), ({"other"}, set[int]())):
        found = await store.query(query(1, collections=frozenset(seen)))
        assert set(_ids(found.dense)) == set(_ids(found.sparse)) == {identifier(number) for number in wanted}


async def test_no_collection_means_nothing(store: VectorStore) -> None:
    await store.upsert([point(1)])
    assert await store.query(query(1, collections=frozenset())) == Candidates()


async def test_an_epoch_sees_what_was_published_by_then_and_not_replaced(store: VectorStore) -> None:
    await store.upsert(
        [
            point(1, visible_from=1, visible_until=4),
            point(2, dense=axis(1), visible_from=4),
            point(3, dense=axis(1), visible_from=NEVER),
        ]
    )
    for epoch, wanted in ((0, []), (1, [1]), (3, [1]), (4, [2]), (NEVER - 1, [2])):
        found = await store.query(query(1, sparse=False, epoch=epoch))
        assert set(_ids(found.dense)) == {identifier(number) for number in wanted}, epoch


async def test_showing_moves_points_between_epochs_and_passes_absent_ones_over(store: VectorStore) -> None:
    await store.upsert([point(1, visible_from=NEVER), point(2)])
    await store.show(
        [
            Visibility((identifier(1), identifier(99)), 5, NEVER),
            Visibility((identifier(2),), 1, 5),
            Visibility((), 1, 2),
        ]
    )
    assert await store.summary() == Summary(
        2, (checksum(identifier(1), 5, NEVER) + checksum(identifier(2), 1, 5)) % 2**64
    )
    assert _ids((await store.query(query(1, sparse=False, epoch=5))).dense) == [identifier(1)]
    assert _ids((await store.query(query(2, sparse=False, epoch=4))).dense) == [identifier(2)]


async def test_documents_types_and_tags_narrow(store: VectorStore) -> None:
    await store.upsert(
        [
            point(1, document="d1", type="text/html", tags=("red", "blue")),
            point(2, document="d2", type="text/html", tags=("red",)),
            point(3, document="d3"),
        ]
    )

    async def found(**conditions: Any) -> set[str]:
        return set(_ids((await store.query(query(1, sparse=False, **conditions))).dense))

    one, two, three = identifier(1), identifier(2), identifier(3)
    assert await found() == {one, two, three}  # a point without tags or date passes where they are not asked for
    assert await found(documents=("d1", "d3")) == {one, three}
    assert await found(types=("text/html",)) == {one, two}
    assert await found(types=("text/html", "text/plain")) == {one, two, three}
    assert await found(tags=("red",)) == {one, two}
    assert await found(tags=("red", "blue")) == {one}
    assert await found(documents=("d2",), tags=("blue",)) == set()
    assert await found(documents=("none",)) == set()


async def test_dates_narrow_both_ends_included(store: VectorStore) -> None:
    day = 86_400.0
    await store.upsert([point(1, date=-day), point(2, date=0.0), point(3, date=20_000 * day), point(4)])

    async def found(**conditions: Any) -> set[str]:
        return set(_ids((await store.query(query(1, sparse=False, **conditions))).dense))

    assert await found(date_from=0.0) == {identifier(2), identifier(3)}
    assert await found(date_to=0.0) == {identifier(1), identifier(2)}
    assert await found(date_from=-day, date_to=-day) == {identifier(1)}
    assert await found(date_from=1.0, date_to=2.0) == set()


async def test_further_fields_narrow_names_by_any_and_numbers_by_bounds(store: VectorStore) -> None:
    for number, ends, since, until in ((1, ("a", "b"), 1.5, 4.0), (2, ("b", "c"), 2.5, 9.0), (3, (), 0.0, 2.0)):
        numbers = {"since": since, "until": until}
        await store.upsert([point(number, dense=axis(1), names={"ends": ends}, numbers=numbers)])
    await store.upsert([point(4, dense=axis(1))])  # without any: no condition on them holds

    async def found(**conditions: Any) -> set[str]:
        return set(_ids((await store.query(query(1, sparse=False, **conditions))).dense))

    assert await found(names={"ends": ("a", "c")}) == {identifier(1), identifier(2)}
    assert await found(names={"ends": ("b",)}, numbers=((Within("since", above=1.5),),)) == {identifier(2)}
    assert await found(numbers=((Within("since", upto=1.5),),)) == {identifier(1), identifier(3)}
    either = (Within("until", above=4.0), Within("since", above=-1.0, upto=0.0))
    assert await found(numbers=(either,)) == {identifier(2), identifier(3)}
    assert await found(numbers=(either, (Within("since", upto=1.0),))) == {identifier(3)}
    assert await found(numbers=((Within("since"),),)) == {identifier(1), identifier(2), identifier(3)}
    await store.show([Visibility((identifier(1),), 1, 2)])  # new epochs leave the rest as it is
    assert await found(names={"ends": ("a", "c")}) == {identifier(2)}


async def test_writing_a_point_twice_changes_nothing_and_a_new_form_replaces_the_old(store: VectorStore) -> None:
    await store.upsert([point(1), point(2)])
    before = await store.summary()
    await store.upsert([point(1), point(2)])
    assert await store.summary() == before
    await store.upsert([point(1, collection="moved", tags=())])
    assert _ids((await store.query(query(1, sparse=False))).dense) == [identifier(2)]
    assert (await store.summary()).count == 2


async def test_a_replaced_point_loses_its_old_tags_and_date(store: VectorStore) -> None:
    await store.upsert([point(1, tags=("old",), date=1.0)])
    await store.upsert([point(1)])
    assert (await store.query(query(1, tags=("old",)))).dense == []
    assert (await store.query(query(1, date_from=0.0))).dense == []


async def test_deleting_absent_and_present_points(store: VectorStore) -> None:
    await store.upsert([point(number) for number in range(1, 4)])
    await store.delete([identifier(1), identifier(77)])
    await store.delete([])
    assert await store.summary() == Summary(
        2, (checksum(identifier(2), 1, NEVER) + checksum(identifier(3), 1, NEVER)) % 2**64
    )
    assert identifier(1) not in _ids((await store.query(query(1))).dense)


async def test_the_summary_of_many_points_is_the_sum_of_their_checksums(store: VectorStore) -> None:
    points = random_points(2345, DIMENSIONS)
    assert await store.summary() == Summary(0, 0)
    await store.upsert(points)
    expected = sum(checksum(each.id, each.visible_from, each.visible_until) for each in points) % 2**64
    assert await store.summary() == Summary(2345, expected)


async def test_unicode_names(store: VectorStore) -> None:
    await store.upsert([point(1, collection="Übersicht 東京", document="é", tags=("naïve\n", "🙂"))])
    names = frozenset({"Übersicht 東京"})
    assert len((await store.query(query(1, collections=names, documents=("é",), tags=("🙂", "naïve\n")))).dense) == 1
    # e and a combining accent: looks the same, is another name
    assert (await store.query(query(1, collections=names, documents=("e\u0301",)))).dense == []


async def test_a_text_without_words_is_found_by_nothing_but_is_there(store: VectorStore) -> None:
    silent = point(1, dense=np.zeros(DIMENSIONS, np.float32), sparse=Sparse((), ()))
    await store.upsert([silent, point(2)])
    assert (await store.summary()).count == 2
    found = await store.query(query(2))
    assert (_ids(found.dense), _ids(found.sparse)) == ([identifier(2)], [identifier(2)])


async def test_keywords_rank_passages_by_rare_words(store: VectorStore) -> None:
    encoder = KeywordEncoder()
    texts = [
        "The cat sat on the mat and looked at the garden.",
        "Gardens need water; the garden of the palace needs the most of it.",
        "A quasar is an extremely luminous galactic core, seen from no garden.",
        "Nothing to see here.",
    ]
    vectors = encoder.documents(texts)
    await store.upsert([point(number, sparse=vector) for number, vector in enumerate(vectors)])
    asked = VectorQuery(PointFilter(frozenset({"default"}), 5), 10, sparse=encoder.query("quasar in the garden"))
    found = await store.query(asked)
    assert _ids(found.sparse)[0] == identifier(2)
    assert identifier(3) not in _ids(found.sparse)


async def test_random_points_find_themselves_by_both_halves(store: VectorStore) -> None:
    points = random_points(300, DIMENSIONS)
    await store.upsert(points)
    for wanted in points[::30]:
        found = await store.query(like(wanted, limit=5))
        assert _ids(found.dense)[0] == _ids(found.sparse)[0] == wanted.id
        scores = [hit.score for hit in found.dense]
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    "bad",
    [
        point(1, id="not-a-uuid"),
        point(1, id=identifier(1).upper()),
        point(1, dense=np.ones(3, np.float32)),
        point(1, dense=np.full(DIMENSIONS, np.nan, np.float32)),
        point(1, sparse=Sparse((1, 1), (1.0, 1.0))),
        point(1, sparse=Sparse((2**32,), (1.0,))),
        point(1, sparse=Sparse((1,), (float("inf"),))),
        point(1, collection="\ud800"),
        point(1, date=float("nan")),
    ],
)
async def test_what_cannot_be_stored_is_refused_and_harms_nothing(store: VectorStore, bad: Point) -> None:
    await store.upsert([point(2)])
    with pytest.raises(InvalidInput):
        await store.upsert([bad])
    assert (await store.summary()).count == 1


async def test_a_query_of_another_width_is_refused(store: VectorStore) -> None:
    with pytest.raises(InvalidInput, match="shape"):
        await store.query(VectorQuery(PointFilter(frozenset({"default"}), 5), 10, np.ones(3, np.float32)))
    with pytest.raises(InvalidInput, match="limit"):
        await store.query(query(1, limit=10**9))


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    settings = QdrantSettings(url="http://127.0.0.1:9", grpc_port=9, timeout=2)
    with pytest.raises(IndexUnavailable):
        async with open_qdrant(settings, DIMENSIONS):
            pass


async def test_a_collection_on_the_server_can_be_emptied() -> None:
    from qdrant_client import AsyncQdrantClient

    client = AsyncQdrantClient(":memory:")
    store = QdrantStore(client, "chunks", DIMENSIONS)
    await store.prepare()
    await store.upsert([point(1)])
    await store.prepare()  # another replica starts
    assert (await store.summary()).count == 1
    await store.reset("a test")
    assert await store.summary() == Summary(0, 0)
    await store.upsert([point(1)])
    assert (await store.summary()).count == 1
    await client.close()
