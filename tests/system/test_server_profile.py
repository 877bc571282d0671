"""The whole application on real servers: `aegis serve` on PostgreSQL, Neo4j and Redis, which are emptied and killed."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString, cast
from urllib.parse import urlsplit

import httpx
import pytest

from agents.consult_graph import GRAPH_NOTE
from samples import FOLDER as DOCUMENTS
from tests.servers import ServerMissing, free_port
from tests.servers.neo4j import running_neo4j
from tests.servers.postgres import running_postgres
from tests.system.application import Site, check, eventually, finished, job, submit

pytestmark = pytest.mark.servers

CHAIN = (
    b"# Chain\n\nMeridian Works uses Lantern Press. Lantern Press uses Copper Bay Bank. "
    b"Copper Bay Bank uses Tidewater Lab."
)
RELATED = "How is Meridian Works related to Tidewater Lab?"


@dataclass
class Server:
    """One that can be killed and started again with what it held."""

    starter: Callable[[int, Path], AbstractContextManager[str]]
    folder: Path
    port: int
    url: str = ""
    running: AbstractContextManager[str] | None = None

    def start(self) -> None:
        self.running = self.starter(self.port, self.folder)
        try:
            self.url = self.running.__enter__()
        except ServerMissing as missing:
            self.running = None
            pytest.skip(str(missing))

    def stop(self) -> None:
        running, self.running = self.running, None
        if running is not None:
            running.__exit__(None, None, None)


class Line:
    """A line to a server, which breaks in the middle of the next question: what was asked never arrives."""

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._door.getsockname()[1])
        self.broken = threading.Event()  # something was asked, and is lost
        self.breaks = False
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self._door.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._join, args=(self._door.accept()[0],), daemon=True).start()

    def _join(self, caller: socket.socket) -> None:
        with caller, contextlib.suppress(OSError), socket.create_connection(self._server) as server:
            back = threading.Thread(target=self._carry, args=(server, caller), daemon=True)
            back.start()
            self._carry(caller, server, asked=True)

    def _carry(self, source: socket.socket, target: socket.socket, *, asked: bool = False) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if asked and self.breaks:
                    self.broken.set()
                    break  # and hang up
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def postgres() -> Generator[Server]:
    """Not in pytest's folder, which is closed to the user that PostgreSQL runs as."""
    folder = Path(tempfile.mkdtemp(prefix="aegis-postgres-"))
    server = Server(running_postgres, folder, free_port())
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def neo4j(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    server = Server(running_neo4j, tmp_path_factory.mktemp("neo4j"), free_port())
    server.start()
    yield server
    server.stop()


@pytest.fixture
def site(postgres: Server, neo4j: Server, redis_url: str, tmp_path: Path) -> Generator[Site]:
    """A server of its own on an empty database and an empty graph; not started."""
    name = f"aegis_{secrets.token_hex(4)}"
    asyncio.run(_create_database(postgres.url, name))
    cypher(neo4j, "MATCH (node) DETACH DELETE node")
    address = urlsplit(postgres.url)._replace(path=f"/{name}").geturl()
    settings = {
        "AEGIS_DATABASE__KIND": "postgres",
        "AEGIS_DATABASE__URL": address,
        "AEGIS_DATABASE__TIMEOUT": "3",
        "AEGIS_GRAPH__KIND": "neo4j",
        "AEGIS_GRAPH__URL": neo4j.url,
        "AEGIS_GRAPH__USER": "",
        "AEGIS_GRAPH__TIMEOUT": "5",
        "AEGIS_CACHE__KIND": "redis",
        "AEGIS_CACHE__URL": redis_url,
        "AEGIS_CACHE__PREFIX": f"{name}:",
    }
    made = Site(tmp_path / "var", settings)
    yield made
    made.stop()


async def _create_database(url: str, name: str) -> None:
    import asyncpg

    server: Any = await asyncpg.connect(url)
    await server.execute(f"CREATE DATABASE {name}")
    await server.close()


async def _counted(url: str) -> tuple[int, int]:
    import asyncpg

    server: Any = await asyncpg.connect(url)
    counts = [await server.fetchval(f"SELECT count(*) FROM {table}") for table in ("entities", "facts")]
    await server.close()
    return counts[0], counts[1]


def cypher(server: Server, query: str) -> list[Any]:
    from neo4j import GraphDatabase

    with GraphDatabase.driver(server.url, notifications_min_severity="OFF") as driver:
        return list(driver.execute_query(cast(LiteralString, query)).records)


def in_graph(server: Server) -> tuple[int, int]:
    nodes = cypher(server, "MATCH (node:Entity) RETURN count(node) AS n")
    edges = cypher(server, "MATCH ()-[edge:RELATES_TO]->() RETURN count(edge) AS n")
    return nodes[0]["n"], edges[0]["n"]


def in_tables(site: Site) -> tuple[int, int]:
    return asyncio.run(_counted(site.settings["AEGIS_DATABASE__URL"]))


def ingest(client: httpx.Client, files: dict[Path, bytes]) -> dict[str, Any]:
    done = finished(client, submit(client, files))
    assert (done["state"], done["failures"]) == ("done", []), done
    return done


def ask(client: httpx.Client, question: str, **more: Any) -> dict[str, Any]:
    answer = client.post("/api/v1/chat", json={"question": question, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def facts(client: httpx.Client, query: str) -> list[str]:
    found = client.post("/api/v1/memory/search", json={"query": query, "limit": 20})
    assert found.status_code == 200, found.text
    return [fact["text"] for fact in found.json()["facts"]]


def names(client: httpx.Client, path: str) -> list[str]:
    found = client.get(path)
    assert found.status_code == 200, found.text
    body = found.json()
    known = {entity["id"]: entity["name"] for entity in body["entities"]}
    return [known[one] for one in body["path"]] or sorted(known.values())


PATH = "/api/v1/memory/graph?entity=Meridian Works&to=Tidewater Lab"
AROUND = "/api/v1/memory/graph?entity=Meridian Works"


def test_whole_application(site: Site, neo4j: Server, tmp_path: Path) -> None:
    samples = {file: file.read_bytes() for file in sorted(DOCUMENTS.iterdir()) if file.is_file()}
    chain = tmp_path / "chain.md"
    with site.running() as client:
        assert {check(client, name)["state"] for name in ("database", "vectors", "graph", "redis")} == {"up"}
        done = ingest(client, samples | {chain: CHAIN})
        assert done["files"] == len(samples) + 1
        again = ingest(client, samples | {chain: CHAIN})
        assert again["chunks"] == 0

        answer = ask(client, "Who created Redis?")
        assert "Sanfilippo" in answer["answer"]
        cited = answer["citations"][0]
        text = client.get(f"/api/v1/documents/{cited['document_id']}/text").json()["text"]
        assert text[cited["start"] : cited["end"]] == cited["quote"]
        for mode in ("hybrid", "graph", "keyword", "vector"):
            hits = client.post("/api/v1/retrieval/search", json={"query": "Who created Redis?", "mode": mode}).json()
            assert any("Sanfilippo" in hit["text"] for hit in hits["hits"]), mode

        assert in_tables(site) > (100, 20)
        eventually(lambda: in_graph(neo4j) == in_tables(site))
        assert "Meridian Works uses Lantern Press." in facts(client, "Meridian Works")
        assert names(client, AROUND) == ["Lantern Press", "Meridian Works"]
        assert names(client, PATH) == ["Meridian Works", "Lantern Press", "Copper Bay Bank", "Tidewater Lab"]
        cypher(neo4j, "MATCH ()-[edge:RELATES_TO {fact: 'Meridian Works uses Lantern Press.'}]->() DELETE edge")
        assert names(client, AROUND) == ["Meridian Works"]  # it is Neo4j that is asked
        assert GRAPH_NOTE not in ask(client, RELATED)["notes"]

        before = in_tables(site)
        rebuilt = site.json("rebuild")
        assert rebuilt["running"] is False
        assert in_graph(neo4j) == in_tables(site) == before
        assert names(client, PATH) == ["Meridian Works", "Lantern Press", "Copper Bay Bank", "Tidewater Lab"]

        ingest(client, {chain: CHAIN.replace(b"Lantern Press", b"Alder Foundry")})
        assert names(client, AROUND) == ["Alder Foundry", "Meridian Works"]
        assert facts(client, "Lantern Press") == []
        listed = client.get("/api/v1/documents", params={"limit": 100}).json()["documents"]
        (document,) = (one for one in listed if one["source"] == chain.as_uri())
        assert len(listed) == len(samples) + 1
        assert client.delete(f"/api/v1/documents/{document['id']}").status_code == 204
        assert facts(client, "Meridian Works") == []
        assert client.get(AROUND).status_code == 404
        conversation = answer["conversation_id"]
    assert site.process is not None
    assert site.process.returncode in (0, -signal.SIGTERM), site.said()
    with site.running() as client:
        kept = client.get(f"/api/v1/conversations/{conversation}").json()
        assert [turn["answer"] for turn in kept["turns"]] == [answer["answer"]]
        assert ask(client, "Who created Redis?")["answer"] == answer["answer"]
        assert ingest(client, samples)["chunks"] == 0


def test_graph_emptied_killed_and_back(site: Site, neo4j: Server, tmp_path: Path) -> None:
    with site.running() as client:
        ingest(client, {tmp_path / "chain.md": CHAIN})
        held = in_tables(site)
        eventually(lambda: in_graph(neo4j) == held)  # the graph follows; nobody waits for it
    cypher(neo4j, "MATCH (node) DETACH DELETE node")
    with site.running() as client:
        eventually(lambda: in_graph(neo4j) == held)
        eventually(lambda: check(client, "projection neo4j")["state"] == "up")
        first = ask(client, RELATED)
        assert GRAPH_NOTE not in first["notes"]

        neo4j.stop()
        try:
            began = time.monotonic()
            second = ask(client, RELATED, conversation_id=first["conversation_id"])
            assert time.monotonic() - began < 15
            assert GRAPH_NOTE in second["notes"]
            assert second["citations"]  # what documents say is still there
            assert client.get("/health/ready").json()["status"] == "degraded"
            assert client.get(AROUND).status_code == 503
            job = submit(client, {tmp_path / "more.md": b"Meridian Works owns Quarry Hill."})
            assert finished(client, job, 20)["state"] == "done"  # publishing does not wait for the graph
            found = client.post("/api/v1/retrieval/search", json={"query": "Who owns Quarry Hill?"})
            assert "owns Quarry Hill" in found.json()["hits"][0]["text"]
            assert check(client, "projection neo4j")["detail"]["backlog"] > 0
        finally:
            neo4j.start()
        eventually(lambda: names_or_none(client) == ["Lantern Press", "Meridian Works", "Quarry Hill"], 60)
        assert GRAPH_NOTE not in ask(client, RELATED, conversation_id=first["conversation_id"])["notes"]
        assert check(client, "graph")["state"] == "up"
        eventually(lambda: in_graph(neo4j) == in_tables(site))


def test_graph_lost_while_it_is_being_asked(site: Site, neo4j: Server, tmp_path: Path) -> None:
    """The line breaks under the question of a running answer: the answer comes and says so, and the next has facts."""
    line = Line(neo4j.port)
    site.settings = {**site.settings, "AEGIS_GRAPH__URL": f"bolt://127.0.0.1:{line.port}"}
    with contextlib.closing(line), site.running() as client:
        ingest(client, {tmp_path / "chain.md": CHAIN})
        held = in_tables(site)
        eventually(lambda: in_graph(neo4j) == held)
        assert GRAPH_NOTE not in ask(client, RELATED)["notes"]
        line.breaks = True
        lost = ask(client, RELATED, fresh=True)
        assert line.broken.is_set()
        assert GRAPH_NOTE in lost["notes"]
        assert lost["citations"]  # what documents say is still there
        line.breaks = False
        eventually(lambda: GRAPH_NOTE not in ask(client, RELATED, fresh=True)["notes"], 60)
        healed = ask(client, RELATED, fresh=True)
        assert healed["facts"]
        assert check(client, "graph")["state"] == "up"


def names_or_none(client: httpx.Client) -> list[str] | None:
    answer = client.get(AROUND)
    return sorted(one["name"] for one in answer.json()["entities"]) if answer.status_code == 200 else None


def test_postgres_killed_and_back(site: Site, postgres: Server, tmp_path: Path) -> None:
    files = {tmp_path / f"{n}.md": f"# Note {n}\n\nNumber {n} stands on shelf {n * 7}.".encode() for n in range(60)}
    with site.running() as client:
        ingest(client, {tmp_path / "chain.md": CHAIN})
        job_id = submit(client, files)
        eventually(lambda: job(client, job_id)["done"] > 0 or job(client, job_id)["chunks"] > 0)
        postgres.stop()
        try:
            eventually(lambda: client.get("/health/ready").status_code == 503)
            refused = client.post("/api/v1/chat", json={"question": "Where does number 7 stand?"})
            assert refused.status_code == 503, refused.text
            assert refused.json()["error"]["code"] == "store_unavailable"
            assert client.get("/api/v1/documents").status_code == 503
            assert client.get("/health").status_code == 200
        finally:
            postgres.start()
        eventually(lambda: client.get("/health/ready").status_code == 200)
        done = finished(client, job_id)
        assert (done["state"], done["done"], done["failures"]) == ("done", 60, [])
        assert client.get("/api/v1/documents", params={"limit": 200}).json()["next"] is None
        assert "49" in ask(client, "On which shelf does Number 7 stand?")["answer"]


def test_killed_server_takes_up_its_work_at_once(site: Site, tmp_path: Path) -> None:
    """Leases are held under the folder's name: nobody waits for one to run out."""
    files = {tmp_path / f"{n}.md": f"# Note {n}\n\nNumber {n} stands on shelf {n * 7}.".encode() for n in range(80)}
    site.start()
    with site.client() as client:
        job_id = submit(client, files)
        site.kill()
    with site.running() as client:
        eventually(lambda: job(client, job_id)["done"] > 0, 25)  # a lease lasts 30 s, a sweep comes every 15
        done = finished(client, job_id)
        assert (done["state"], done["done"], done["failures"]) == ("done", 80, [])


def test_second_server_with_an_index_of_its_own_waits_and_is_refused(site: Site, tmp_path: Path) -> None:
    other = Site(tmp_path / "other", site.settings)
    with site.running() as client:
        ingest(client, {tmp_path / "chain.md": CHAIN})
        started = threading.Thread(target=lambda: other.start(ready=False))
        started.start()
        started.join()
        assert other.process is not None
        try:
            assert other.process.wait(90) != 0
        finally:
            other.kill()
        assert "AEGIS_VECTORS__KIND=qdrant" in other.said()
        assert ask(client, RELATED)["citations"]
