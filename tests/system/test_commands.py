"""The command line as a user meets it: with a server, without one, two at once, and what it says when it cannot."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aegis.cli import client, doctor
from aegis.errors import FolderInUse
from aegis.folder import FORMAT
from aegis.settings import Settings
from tests.system.application import Site, eventually
from tests.system.library import files, write
from tests.system.stores import contents, faults

COMMANDS = (
    *(
        ["serve"],
        ["studio"],
        ["ingest"],
        ["search"],
        ["ask"],
        ["documents"],
        ["private"],
        ["jobs"],
        ["rebuild"],
        ["doctor"],
    ),
    *(["bench"], ["memory", "search"], ["eval", "run"]),
)
HOLDER = """
import asyncio, sys
from pathlib import Path
from aegis.folder import own_folder

async def main():
    async with own_folder(Path(sys.argv[1]), "ingest"):
        print("held", flush=True)
        await asyncio.sleep(float(sys.argv[2]))

asyncio.run(main())
"""


@pytest.mark.parametrize("order", [("down", "up"), ("up", "down")])
def test_one_folder_with_the_server_down_and_up(order: tuple[str, str], tmp_path: Path) -> None:
    """Nothing is new the second time, however the folder is named."""
    docs = tmp_path / "docs"
    write(files(docs, 12))
    site = Site(tmp_path / "var")
    first = _ingested(site, order[0], docs)
    assert (first["files"], first["unchanged"], first["failures"]) == (12, 0, [])
    assert first["chunks"] > 0
    before = contents(site.folder)
    again = _ingested(site, order[1], tmp_path / "nowhere" / ".." / "docs")
    assert (again["files"], again["unchanged"], again["chunks"], again["failures"]) == (12, 12, 0, [])
    assert contents(site.folder) == before
    assert faults(site.folder) == []


def _ingested(site: Site, how: str, place: Path) -> Any:
    if how == "down":
        return site.json("ingest", place)
    with site.running():
        return site.json("ingest", place)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help(command: list[str], tmp_path: Path) -> None:
    done = Site(tmp_path / "var").cli(*command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: " in done.stdout
    if command[0] not in ("serve", "studio"):
        assert "--json" in done.stdout
    assert not (tmp_path / "var").exists()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Generator[Site]:
    place = tmp_path_factory.mktemp("commands")
    write(files(place / "docs", 6))
    site = Site(place / "var")
    with site.running():
        yield site


def test_every_command_through_a_server(running: Site) -> None:
    shown = running.cli("ingest", running.folder.parent / "docs")
    assert (shown.returncode, "6 taken in" in shown.stdout) == (0, True), shown
    assert "chunks" in shown.stderr  # the progress bar
    listed = running.json("documents")["documents"]
    assert (len(listed), any(entry["private"] for entry in listed)) == (6, False)
    for more, private in (((), True), (("--off",), False)):
        assert running.json("private", listed[0]["id"], *more)["documents"][0]["private"] is private
    taken = running.json("ingest", running.folder.parent / "docs", "--private")
    assert (taken["unchanged"], len(taken["failures"])) == (6, 0)
    assert all(entry["private"] for entry in running.json("documents")["documents"])
    assert "private" in running.cli("documents").stdout
    talk = running.json("ask", "Who repairs the crates?")["conversation_id"]
    for more, shareable in ((("--off",), True), ((), False)):
        assert running.json("conversations", "private", talk, *more)["shareable"] is shareable
    assert "stays on this machine" in running.cli("conversations", "private", talk).stdout
    assert running.json("search", "crates at Pier Seven")["hits"]
    assert running.json("ask", "What does the ledger of Alder Foundry list?")["answer"]
    assert "facts" in running.json("memory", "search", "Clara Dorn")
    consolidated = running.json("memory", "consolidate")
    assert (consolidated["phase"], consolidated["running"]) == ("done", False)
    assert consolidated["summarised"] > 0
    assert running.json("memory", "consolidate")["summarised"] == 0
    firm = running.json("memory", "about", "Meridian Works")
    assert firm["summary"]
    assert all(f"{word}" in firm["summary"] for word in ("Meridian", "Works"))
    _, job = running.json("jobs")["jobs"]  # newest first
    assert len(running.json("jobs", job["job_id"])["reports"]) == 6
    assert running.json("jobs", job["job_id"], "--cancel")["state"] == "done"
    assert running.json("rebuild")["running"] is False
    rebuilt = running.cli("rebuild")
    assert "Rebuilt: " in rebuilt.stdout
    assert "Rebuilding" in rebuilt.stderr
    for command in (["documents"], ["search", "ledger"], ["ask", "Who?"], ["jobs"], ["memory", "search", "Clara Dorn"]):
        done = running.cli(*command)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done
    examined = running.cli("doctor")
    assert examined.returncode == 0
    assert "is in use by `aegis serve` at" in examined.stdout


def test_refusals_have_one_sentence_and_a_code(running: Site) -> None:
    wrong: dict[tuple[str, ...], tuple[int, str]] = {
        ("search", ""): (1, "query"),
        ("search", "a", "--mode", "guess"): (1, "mode"),
        ("search", "a", "--top-k", "0"): (1, "top_k"),
        ("search", "a", "--as-of", "yesterday"): (1, "as_of"),
        ("ask", "x" * 50_000): (1, "50,000 characters; at most 8,000"),
        ("jobs", "no-such-job"): (1, "There is no job no-such-job."),
        ("jobs", "--cancel"): (1, "Name the job"),
        ("search",): (2, "Missing argument"),
        ("guess",): (2, "No such command"),
    }
    for command, (code, says) in wrong.items():
        done = running.cli(*command)
        assert (done.returncode, says in done.stderr, "Traceback" in done.stderr) == (code, True, False), done
    assert running.json("jobs", "no-such-job", code=1)["error"]["code"] == "not_found"


def test_rows_of_a_table_are_counted(running: Site, tmp_path: Path) -> None:
    table = tmp_path / "shipments.csv"
    table.write_text("Ship,Port,State\n" + "".join(f"{n},{'Oslo' if n % 2 else 'Bergen'},late\n" for n in range(300)))
    assert running.json("ingest", table)["failures"] == []
    answer = running.json("ask", "How many rows in shipments.csv have the port Oslo?")
    assert "150 of 300 rows" in answer["answer"]
    assert (answer["route"], answer["abstained"]) == ("inventory", False)


def test_a_second_server_is_refused(running: Site) -> None:
    second = Site(running.folder).cli("serve")
    assert second.returncode == 1
    assert f"is in use by `aegis serve` at {running.url}" in second.stderr
    assert "Stop it, or set another folder with AEGIS_DATA_DIR." in second.stderr
    assert len(second.stderr.strip().splitlines()) == 1


def test_a_port_that_is_taken(running: Site, tmp_path: Path) -> None:
    site = Site(tmp_path / "var", port=running.port)
    done = site.cli("serve")
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (1, 1)
    assert f"Port {running.port} on 127.0.0.1 cannot be used (Address already in use)" in done.stderr
    said = site.cli("doctor")
    assert (said.returncode, "is taken by another program" in said.stdout) == (1, True)


@pytest.mark.parametrize(("name", "value"), [("PORT", "abc"), ("DATABASE__READERS", "x"), ("ALLOWED_HOSTS", "a,b")])
def test_a_wrong_setting_is_named(name: str, value: str, tmp_path: Path) -> None:
    site = Site(tmp_path / "var", {f"AEGIS_{name}": value})
    done = site.cli("documents")
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (1, 1)
    assert name.lower() in done.stderr.lower()
    assert json.loads(site.cli("documents", "--json").stdout)["error"]["code"] == "configuration"


def test_a_command_waits_for_another(tmp_path: Path) -> None:
    site = Site(tmp_path / "var")
    site.folder.mkdir()
    with _held(site.folder, 8) as holder:
        done = site.cli("documents")
        assert done.returncode == 0, done.stderr
        assert f"Waiting up to 30 s for `aegis ingest` (process {holder.pid})" in done.stderr


async def test_a_command_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.PATIENCE == 30
    monkeypatch.setattr(client, "PATIENCE", 1.0)
    monkeypatch.setenv("AEGIS_DATA_DIR", str(tmp_path))
    with _held(tmp_path, 300) as holder:
        with pytest.raises(FolderInUse, match=rf"in use by `aegis ingest` \(process {holder.pid}\)"):
            async with client.connect(Settings(), "documents"):
                pass
        findings = await asyncio.to_thread(doctor.examine, Settings())
    assert any("is in use by `aegis ingest`" in found.says for found in findings)


def _held(folder: Path, seconds: float) -> Any:
    class Held:
        def __enter__(self) -> subprocess.Popen[str]:
            arguments = [sys.executable, "-c", HOLDER, str(folder), str(seconds)]
            self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
            assert self.process.stdout is not None
            assert self.process.stdout.readline() == "held\n"
            return self.process

        def __exit__(self, *_: object) -> None:
            self.process.kill()
            self.process.communicate()

    return Held()


def test_a_command_waits_for_a_server_that_starts(tmp_path: Path) -> None:
    site = Site(tmp_path / "var")
    site.start(ready=False)
    try:
        eventually(lambda: (site.folder / "owner.json").exists())
        done = site.cli("documents", "--json")
        assert json.loads(done.stdout) == {"documents": []}
    finally:
        site.stop()


def test_two_ingestions_at_once(tmp_path: Path) -> None:
    """Without a server: one waits for the other, and both end well."""
    site = Site(tmp_path / "var")
    write(files(tmp_path / "docs", 10))
    done: list[Any] = []
    threads = [threading.Thread(target=lambda: done.append(site.json("ingest", tmp_path / "docs"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report["unchanged"] for report in done) == [0, 10]
    assert faults(site.folder) == []


def test_versions_of_the_folder(tmp_path: Path) -> None:
    """Written by a newer AegisRAG: refused, untouched. Written by an older one, or without a note: opened."""
    site = Site(tmp_path / "var")
    write(files(tmp_path / "docs", 3))
    site.json("ingest", tmp_path / "docs")
    before, noted = contents(site.folder), site.folder / "format.json"
    recorded = json.loads(noted.read_text())
    noted.write_text(json.dumps({**recorded, "format": FORMAT + 1}))
    for command in ("documents", "serve"):
        refused = site.cli(command)
        assert (refused.returncode, f"has format {FORMAT + 1}" in refused.stderr) == (1, True), refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1
    assert f"newer than {FORMAT}" in site.cli("doctor").stdout
    assert json.loads(noted.read_text())["format"] == FORMAT + 1
    for text in ('{"format": 1}', "[1]"):
        noted.write_text(text)
        assert len(site.json("documents")["documents"]) == 3
    assert contents(site.folder) == before
    with closing(sqlite3.connect(site.folder / "aegis.sqlite")) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
        connection.commit()
    assert "The tables have form 9999" in site.cli("documents").stderr


def test_a_damaged_relational_store_is_named(tmp_path: Path) -> None:
    site = Site(tmp_path / "var")
    site.folder.mkdir()
    (site.folder / "aegis.sqlite").write_bytes(b"\0" * 100 + b"not a database" * 1000)
    done = site.cli("documents")
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (1, 1), done.stderr
    assert "The relational store is damaged (file is not a database)" in done.stderr


def test_a_folder_of_any_name(tmp_path: Path) -> None:
    site = Site(tmp_path / "a?b #%41 é" / "var")
    site.folder.parent.mkdir()
    assert site.json("documents") == {"documents": []}
    assert (site.folder / "aegis.sqlite").exists()


def test_doctor_before_the_first_start(tmp_path: Path) -> None:
    site = Site(tmp_path / "var")
    findings = {found["what"]: found for found in site.json("doctor")["findings"]}
    assert findings["Data folder"]["state"] == "ok"
    assert "first start" in findings["Data folder"]["says"]
    assert findings["Model server"]["state"] == "warning"
    assert findings["Model server"]["mend"]
    assert not site.folder.exists()
    with socket.create_server(("127.0.0.1", site.port)):
        assert site.cli("doctor").returncode == 1
    shutil.rmtree(tmp_path / "var", ignore_errors=True)
