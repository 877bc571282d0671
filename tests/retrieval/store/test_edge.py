"""What only the embedded store has: a child process that may die, files that may be damaged, index builds."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest

from aegis.errors import IndexUnavailable
from aegis.settings import EdgeSettings
from retrieval.store import Candidates, Point, Summary, Visibility, checksum, edge_engine
from retrieval.store.edge import EdgeStore, open_edge
from retrieval.store.edge_process import SCRIPT
from tests.retrieval.store.points import DIMENSIONS, NEVER, identifier, like, point, query, random_points

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "vectors"


@pytest.fixture
async def store(folder: Path) -> AsyncGenerator[EdgeStore]:
    async with open_edge(EdgeSettings(), folder, DIMENSIONS) as opened:
        yield opened


def _kill(store: EdgeStore) -> int:
    """End the child as `kill -9` does."""
    pid = store.pid
    assert pid is not None
    with suppress(psutil.NoSuchProcess):
        psutil.Process(pid).kill()
    return pid


def _summary(points: list[Point]) -> Summary:
    parts = (checksum(each.id, each.visible_from, each.visible_until) for each in points)
    return Summary(len(points), sum(parts) % 2**64)


async def _answers(store: EdgeStore, points: list[Point]) -> list[Candidates]:
    return [await store.query(like(each)) for each in points]


def _same(before: list[Candidates], after: list[Candidates]) -> None:
    for old, new in zip(before, after, strict=True):
        for half in ("dense", "sparse"):
            wanted, found = getattr(old, half), getattr(new, half)
            assert [hit.id for hit in found] == [hit.id for hit in wanted]
            assert [hit.score for hit in found] == pytest.approx([hit.score for hit in wanted], rel=1e-3)


# The child dies


async def test_a_killed_child_comes_back_with_every_confirmed_write(store: EdgeStore) -> None:
    points = random_points(500, DIMENSIONS)
    for start in range(0, 500, 100):
        await store.upsert(points[start : start + 100])
        _kill(store)  # right after the confirmation, five times
    assert await store.summary() == _summary(points)
    assert (await store.query(like(points[77]))).dense[0].id == points[77].id
    assert store.was_reset is None


async def test_it_is_started_again_without_being_asked(store: EdgeStore) -> None:
    killed = _kill(store)
    async with asyncio.timeout(5):
        while store.pid in (None, killed):  # noqa: ASYNC110 -- nothing tells when a process is back
            await asyncio.sleep(0.01)


@posix
def test_a_pipe_that_closes_before_the_end_is_seen_is_a_lost_child(folder: Path) -> None:
    """On the server's own loop, which raises RuntimeError for it: the query is answered by the next child."""
    from uvloop import new_event_loop

    async def asked() -> Candidates:
        async with open_edge(EdgeSettings(), folder, DIMENSIONS) as store:
            await store.upsert([point(1)])
            assert store.pid is not None
            os.kill(store.pid, signal.SIGSTOP)  # so that its end comes after the pipe's
            store._engine.child._stdin.close()  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess] - this pipe alone
            await asyncio.sleep(0.05)
            return await store.query(like(point(1)))

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert [hit.id for hit in runner.run(asked()).dense] == [identifier(1)]


async def test_killed_in_the_midst_of_writes_and_searches(store: EdgeStore) -> None:
    points = random_points(2000, DIMENSIONS)
    await store.upsert(points[:100])
    failures: list[IndexUnavailable] = []
    searches = [asyncio.create_task(_search_for_ever(store, points[5], failures)) for _ in range(4)]
    await asyncio.wait_for(asyncio.gather(_write_stubbornly(store, points[100:]), _kill_often(store)), 40)
    for search in searches:
        assert not search.done() or search.result()
        search.cancel()
    await asyncio.wait(searches)
    assert len(failures) <= 16  # a search waits and is asked once more; it fails only when the second child dies too
    assert await store.summary() == _summary(points)
    assert store.was_reset is None


async def _search_for_ever(store: EdgeStore, wanted: Point, failures: list[IndexUnavailable]) -> None:
    while True:
        try:
            assert (await store.query(like(wanted))).dense[0].id == wanted.id
        except IndexUnavailable as error:
            failures.append(error)


async def _write_stubbornly(store: EdgeStore, points: list[Point]) -> None:
    for start in range(0, len(points), 100):
        written = False
        while not written:
            with suppress(IndexUnavailable):
                await store.upsert(points[start : start + 100])
                written = True


async def _kill_often(store: EdgeStore) -> None:
    for _ in range(4):
        await asyncio.sleep(0.15)
        if store.pid is not None:
            _kill(store)


@posix
async def test_a_child_that_hangs_is_replaced(folder: Path) -> None:
    async with open_edge(EdgeSettings(timeout=2), folder, DIMENSIONS) as store:
        await store.upsert([point(1)])
        assert store.pid is not None
        os.kill(store.pid, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(IndexUnavailable, match="does not answer"):
            await store.query(query(1))
        assert time.monotonic() - began < 4
        async with asyncio.timeout(20):
            while True:
                with suppress(IndexUnavailable):
                    assert (await store.query(query(1))).dense[0].id == identifier(1)
                    break
        assert store.was_reset is None


@posix
async def test_the_child_ends_when_its_parent_is_killed(folder: Path) -> None:
    script = (
        "import asyncio, sys, time\n"
        "from pathlib import Path\n"
        "from aegis.settings import EdgeSettings\n"
        "from retrieval.store.edge import open_edge\n"
        "from tests.retrieval.store.points import point\n"
        "async def main():\n"
        f"    async with open_edge(EdgeSettings(), Path({str(folder)!r}), {DIMENSIONS}) as store:\n"
        "        await store.upsert([point(1)])\n"
        "        print(store.pid, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    root = str(Path(__file__).parents[3])
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}
    )
    assert parent.stdout is not None
    child = psutil.Process(int(await parent.stdout.readline()))
    parent.kill()
    await parent.wait()
    # The next server may be faster than the orphan; it waits for the files.
    async with open_edge(EdgeSettings(), folder, DIMENSIONS) as store:
        assert store.was_reset is None
        assert await store.summary() == _summary([point(1)])
    with suppress(psutil.NoSuchProcess):
        assert child.status() == psutil.STATUS_ZOMBIE  # where nobody reaps orphans


async def test_a_second_store_on_the_same_folder_is_refused(
    store: EdgeStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.upsert([point(1)])
    monkeypatch.setattr(edge_engine, "LOCK_WAIT", 0.3)
    with pytest.raises(IndexUnavailable, match="in use by another process"):
        async with open_edge(EdgeSettings(), folder, DIMENSIONS):
            pass
    assert (await store.summary()).count == 1


async def test_after_closing_it_says_so(folder: Path) -> None:
    async with open_edge(EdgeSettings(), folder, DIMENSIONS) as store:
        pass
    with pytest.raises(IndexUnavailable, match="closed"):
        await store.query(query(1))


# Damage


@asynccontextmanager
async def _filled(folder: Path, *, indexed: bool) -> AsyncGenerator[EdgeStore]:
    async with open_edge(EdgeSettings(), folder, DIMENSIONS) as store:
        await store.upsert(random_points(400, DIMENSIONS))
        if indexed:
            assert await store.build()
        yield store


def _all_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "clean.json")


def _zero(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))


def _halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


async def _expect_reset(folder: Path) -> str:
    """It opens empty, says why, keeps what was there aside, and works."""
    told: list[str] = []
    async with open_edge(EdgeSettings(), folder, DIMENSIONS, told.append) as store:
        assert store.was_reset
        assert told == [store.was_reset]
        assert await store.summary() == Summary(0, 0)
        await store.upsert([point(1)])
        assert (await store.query(query(1))).dense[0].id == identifier(1)
        reason = store.was_reset
    assert len(list(folder.parent.glob("vectors.damaged-*"))) == 1
    async with open_edge(EdgeSettings(), folder, DIMENSIONS) as store:
        assert store.was_reset is None
        assert (await store.summary()).count == 1
    return reason


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("harm", [_zero, _halve, Path.unlink])
async def test_any_file_harmed_while_closed_is_noticed(
    folder: Path, harm: Callable[[Path], None], indexed: bool
) -> None:
    async with _filled(folder, indexed=indexed):
        pass
    target = max(folder.rglob("*.mmap") if not indexed else folder.rglob("matrix.dat"), key=lambda p: p.stat().st_size)
    harm(target)
    assert target.name in await _expect_reset(folder)


async def test_all_files_zeroed(folder: Path) -> None:
    async with _filled(folder, indexed=True):
        pass
    for path in _all_files(folder):
        _zero(path)
    await _expect_reset(folder)


@pytest.mark.parametrize("gone", ["CURRENT", "generation-000001", "generation-000001/shard"])
async def test_parts_deleted(folder: Path, gone: str) -> None:
    async with _filled(folder, indexed=False):
        pass
    path = folder / gone
    path.unlink() if path.is_file() else shutil.rmtree(path)
    await _expect_reset(folder)


async def test_a_folder_deleted_as_a_whole_is_a_first_start(folder: Path) -> None:
    async with _filled(folder, indexed=False):
        pass
    shutil.rmtree(folder)
    async with open_edge(EdgeSettings(), folder, DIMENSIONS) as store:
        assert await store.summary() == Summary(0, 0)  # the catalogue sees that points are missing


async def _leave_unclean(folder: Path, *, indexed: bool) -> None:
    """As after kill -9 of everything: no checksums of the last end."""
    async with _filled(folder, indexed=indexed):
        pass
    for note in folder.rglob("clean.json"):
        note.unlink()


@pytest.mark.parametrize(
    ("indexed", "name"),
    [
        (False, "chunk_0.mmap"),
        (False, "page_0.dat"),
        (False, "segment.json"),
        (True, "matrix.dat"),
        (True, "inverted_index.dat"),
        (True, "links_compressed.bin"),
        (True, "id_tracker.mappings"),
    ],
)
async def test_zeros_are_noticed_after_an_unclean_end_too(folder: Path, indexed: bool, name: str) -> None:
    await _leave_unclean(folder, indexed=indexed)
    paths = [path for path in folder.rglob(name) if "payload_index" not in path.parts]
    for path in paths:
        _zero(path)
    assert paths
    await _expect_reset(folder)


@pytest.mark.parametrize("indexed", [False, True])
async def test_an_unclean_end_alone_is_no_damage(folder: Path, indexed: bool) -> None:
    await _leave_unclean(folder, indexed=indexed)
    async with open_edge(EdgeSettings(), folder, DIMENSIONS) as store:
        assert store.was_reset is None
        assert await store.summary() == _summary(random_points(400, DIMENSIONS))
        await store.delete([identifier(3)])
        await store.show([Visibility((identifier(4),), 2, NEVER)])
    for note in folder.rglob("clean.json"):
        note.unlink()
    async with open_edge(EdgeSettings(), folder, DIMENSIONS) as store:
        assert store.was_reset is None
        assert (await store.summary()).count == 399


@posix
async def test_a_load_that_hangs_counts_as_damage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_engine, "OPEN_TIMEOUT", 0.5)
    await _leave_unclean(folder, indexed=False)
    config = next(folder.rglob("edge_config.json"))
    config.unlink()
    os.mkfifo(config)  # reading it never ends
    async with asyncio.timeout(40), open_edge(EdgeSettings(), folder, DIMENSIONS) as store:
        assert store.was_reset
        assert "no answer" in store.was_reset


async def test_another_width_starts_empty_and_says_so(folder: Path) -> None:
    async with _filled(folder, indexed=False):
        pass
    async with open_edge(EdgeSettings(), folder, 8) as store:
        assert store.was_reset == "made for vectors of 16 dimensions, 8 are wanted"


@posix
async def test_files_lost_while_it_runs_end_in_an_empty_index_not_in_a_loop(folder: Path) -> None:
    async with _filled(folder, indexed=False) as store:
        for path in _all_files(folder):
            os.truncate(path, 0)  # the child's maps end here: it is ended by the system when it reads
        async with asyncio.timeout(60):
            while store.was_reset is None:
                with suppress(IndexUnavailable):
                    await store.query(like(random_points(1, DIMENSIONS)[0]))
        await store.upsert([point(1)])
        assert (await store.summary()).count == 1


async def test_reset_removes_everything_and_goes_on(folder: Path) -> None:
    async with _filled(folder, indexed=False) as store:
        searches = [asyncio.create_task(store.query(query(1))) for _ in range(20)]
        await store.reset("a rebuild was asked for")
        await asyncio.gather(*searches)
        assert store.was_reset == "a rebuild was asked for"
        assert await store.summary() == Summary(0, 0)
        await store.upsert([point(1)])
        assert len(list(folder.glob("generation-*"))) == 1
    assert not list(folder.parent.glob("vectors.damaged-*"))
    async with open_edge(EdgeSettings(), folder, DIMENSIONS) as store:
        assert await store.summary() == _summary([point(1)])


# Index builds


async def test_a_build_under_load_loses_nothing_and_answers_the_same(folder: Path) -> None:
    points = random_points(3000, 64)
    async with open_edge(EdgeSettings(), folder, 64) as store:
        await store.upsert(points[:2500])
        probes = points[:2500:250]
        building = asyncio.create_task(store.build())
        for start in range(2500, 3000, 20):  # writes go on all the while
            await store.upsert(points[start : start + 20])
            await _answers(store, probes[:2])
        await store.show([Visibility(tuple(each.id for each in points[2900:]), 3, NEVER)])
        await store.delete([points[2999].id])
        assert await building
        expected = _summary(points[:2900])
        changed = [checksum(each.id, 3, NEVER) for each in points[2900:2999]]
        assert await store.summary() == Summary(2999, (expected.checksum + sum(changed)) % 2**64)
        assert store.unindexed < 1000
        assert len(list(folder.glob("generation-*"))) == 1
        for each in probes:
            assert (await store.query(like(each))).dense[0].id == each.id
    async with open_edge(EdgeSettings(), folder, 64) as store:
        assert store.was_reset is None
        assert (await store.summary()).count == 2999


async def test_an_index_answers_as_the_scan_before_it(folder: Path) -> None:
    points = random_points(3000, 64)
    async with open_edge(EdgeSettings(), folder, 64) as store:
        await store.upsert(points)
        probes = points[::100]
        before = await _answers(store, probes)
        assert await store.build()
        assert list(folder.rglob("links_compressed.bin")), "no index was built"
        _same(before, await _answers(store, probes))


async def test_a_build_starts_by_itself_above_the_limit(folder: Path) -> None:
    async with open_edge(EdgeSettings(unindexed_limit=300), folder, DIMENSIONS) as store:
        await store.upsert(random_points(300, DIMENSIONS))
        assert not list(folder.rglob("links_compressed.bin"))
        await store.upsert(random_points(420, DIMENSIONS)[300:])
        await store.built()
        assert list(folder.rglob("links_compressed.bin"))
        assert store.unindexed <= 120
        assert (await store.summary()).count == 420


async def test_one_index_is_built_at_a_time(folder: Path) -> None:
    builds = asyncio.Lock()
    async with open_edge(EdgeSettings(unindexed_limit=300), folder, DIMENSIONS, builds=builds) as store:
        async with builds:  # another store builds
            await store.upsert(random_points(420, DIMENSIONS))
            assert (await store.query(like(random_points(1, DIMENSIONS)[0]))).dense
            await asyncio.sleep(0.3)
            assert len(list(folder.glob("generation-*"))) == 1, "a copy was made already"
        await store.built()
        assert list(folder.rglob("links_compressed.bin"))


async def test_points_written_again_or_shown_count_once(store: EdgeStore) -> None:
    points = random_points(200, DIMENSIONS)
    for _ in range(3):
        await store.upsert(points)
        await store.show([Visibility(tuple(each.id for each in points), 2, NEVER)])
    assert store.unindexed == 200


@posix
async def test_the_builder_killed_leaves_the_old_index_in_use(folder: Path) -> None:
    points = random_points(1500, 64)
    async with open_edge(EdgeSettings(), folder, 64) as store:
        await store.upsert(points)
        building = asyncio.create_task(store.build())
        builder = await _builder(store)
        builder.kill()
        assert await building is False
        assert await store.summary() == _summary(points)
        assert len(list(folder.glob("generation-*"))) == 1
        assert await store.build()


async def _builder(store: EdgeStore) -> psutil.Process:
    async with asyncio.timeout(10):
        while True:
            others = [
                child
                for child in psutil.Process().children()
                if child.pid != store.pid and str(SCRIPT) in " ".join(child.cmdline())
            ]
            if others:
                return others[0]
            await asyncio.sleep(0.005)


async def test_the_child_killed_while_an_index_is_built(folder: Path) -> None:
    points = random_points(2000, 64)
    async with open_edge(EdgeSettings(), folder, 64) as store:
        await store.upsert(points[:1800])
        building = asyncio.create_task(store.build())
        await asyncio.sleep(0.3)
        _kill(store)
        await store.upsert(points[1800:])
        await building  # true or false: either way nothing is lost
        assert await store.summary() == _summary(points)
        assert store.was_reset is None


@posix
@pytest.mark.parametrize("delay", [0.05, 0.3, 0.6, 1.0])
async def test_everything_killed_during_a_build_leaves_a_whole_index(folder: Path, delay: float) -> None:
    script = (
        "import asyncio\n"
        "from pathlib import Path\n"
        "from aegis.settings import EdgeSettings\n"
        "from retrieval.store.edge import open_edge\n"
        "from tests.retrieval.store.points import random_points\n"
        "async def main():\n"
        f"    async with open_edge(EdgeSettings(), Path({str(folder)!r}), 64) as store:\n"
        "        await store.upsert(random_points(1500, 64))\n"
        "        print('building', flush=True)\n"
        "        await store.build()\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    root = str(Path(__file__).parents[3])
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}
    )
    assert parent.stdout is not None
    assert await parent.stdout.readline() == b"building\n"
    await asyncio.sleep(delay)
    family = psutil.Process(parent.pid).children(recursive=True)
    parent.kill()
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    await parent.wait()
    points = random_points(1500, 64)
    async with open_edge(EdgeSettings(), folder, 64) as store:
        assert store.was_reset is None
        assert await store.summary() == _summary(points)
        assert len(list(folder.glob("generation-*"))) == 1


async def test_a_reset_ends_a_build(folder: Path) -> None:
    async with open_edge(EdgeSettings(), folder, 64) as store:
        await store.upsert(random_points(1500, 64))
        building = asyncio.create_task(store.build())
        await asyncio.sleep(0.2)
        await store.reset("a test")
        with suppress(asyncio.CancelledError):
            await building
        assert await store.summary() == Summary(0, 0)
        assert json.loads(next(folder.rglob("about.json")).read_text()) == {"dimensions": 64}


@pytest.mark.alone
async def test_the_event_loop_never_stalls(folder: Path) -> None:
    points = random_points(10_000, 256)
    expected = _summary(points)
    async with open_edge(EdgeSettings(unindexed_limit=6000), folder, 256) as store:
        ticking = asyncio.create_task(_longest_stall())
        for start in range(0, 10_000, 1000):
            await store.upsert(points[start : start + 1000])
            await store.query(like(points[start]))
        await store.built()
        assert await store.summary() == expected
        assert list(folder.rglob("links_compressed.bin")), "no index was built"
        ticking.cancel()
        longest = await ticking
    assert longest < 0.05, f"{longest * 1000:.0f} ms"


async def _longest_stall() -> float:
    """Seconds, until cancelled. Time in which this thread was ready but other processes had the cores is left out."""
    longest = 0.0
    with suppress(asyncio.CancelledError):
        while True:
            began, waited = time.perf_counter(), _waited_for_a_core()
            await asyncio.sleep(0.005)
            late = time.perf_counter() - began - 0.005 - (_waited_for_a_core() - waited)
            longest = max(longest, late)
    return longest


def _waited_for_a_core() -> float:
    """Linux counts the time a runnable thread waits for a core; elsewhere none is left out."""
    statistics = Path("/proc/thread-self/schedstat")
    return int(statistics.read_text().split()[1]) / 1e9 if statistics.exists() else 0.0
