"""What cannot be taken in gets its reason, whichever way it came; everything else of the same command is taken."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import fpdf
import httpx
import pypdf
import pytest

from tests.system.application import Site, finished, submit
from tests.system.stores import contents, faults

GOOD = ("good.md", "zz-good.txt", "line\nbreak.md", "naïve – ünï.txt", "emoji 🙂.txt")
NOT_UTF8 = b"latin-\xe9.txt"
REASONS = {
    "empty.txt": "empty",
    "no-pages.pdf": "page",
    "locked.pdf": "password",
    "broken.pdf": "damaged",
    "binary.txt": "binary",
    "program.md": "program",
    "picture.txt": "PNG picture",
    "huge.txt": "300,000,000 bytes; at most 100,000,000",
    "nowhere.txt": "leads nowhere",
    "pipe.txt": "pipe",
    "socket.txt": "pipe, socket or device",
    "bomb.docx": "",
    "blank.txt": "",
}


@pytest.fixture
def nasty(tmp_path: Path) -> Path:
    folder = tmp_path / "nasty"
    folder.mkdir()
    for name in GOOD:
        (folder / name).write_text(f"The harbour master of {name!r} is Clara Dorn. She keeps the ledger of the port.")
    with (folder / os.fsdecode(NOT_UTF8)).open("w") as opened:
        opened.write("A file whose name is not UTF-8, about the lighthouse.")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "blank.txt").write_bytes(b" \n\t\n" * 20)
    _pdf_without_pages(folder / "no-pages.pdf")
    _locked_pdf(folder / "locked.pdf")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\n" + os.urandom(3000))
    (folder / "binary.txt").write_bytes(bytes(range(256)) * 40)
    (folder / "program.md").write_bytes(b"\x7fELF" + os.urandom(500))
    (folder / "picture.txt").write_bytes(b"\x89PNG\r\n\x1a\n" + os.urandom(500))
    (folder / "bomb.docx").write_bytes(b"PK\x03\x04" + os.urandom(2000))
    with (folder / "huge.txt").open("wb") as huge:
        huge.truncate(300_000_000)  # sparse
    (folder / "nowhere.txt").symlink_to(folder / "gone.txt")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(folder)  # a socket's address must be short
        try:
            listening.bind("socket.txt")
        finally:
            os.chdir(here)
    deep = folder / "deep"
    with suppress(OSError):
        for _ in range(12):
            deep = deep / ("d" * 200)
        deep.mkdir(parents=True)
        (deep / "far.txt").write_text("Too deep to have an address that is taken.")
    return folder


def test_a_folder_of_bad_files_with_the_server_down_and_up(nasty: Path, tmp_path: Path) -> None:
    site = Site(tmp_path / "var")
    first = site.json("ingest", nasty, code=1)
    _judge(first, unchanged=0)
    assert faults(site.folder) == []
    before = contents(site.folder)
    with site.running():
        again = site.json("ingest", nasty, code=1)
        _judge(again, unchanged=len(GOOD) + 1)
        shown = site.cli("ingest", nasty)
        assert shown.returncode == 1
        assert "6 unchanged" in shown.stdout
        assert "pipe.txt: It is not a file" in shown.stdout
    assert faults(site.folder) == []
    assert contents(site.folder) == before


def _judge(report: dict[str, Any], unchanged: int) -> None:
    found = {Path(failure["source"]).name: failure["reason"] for failure in report["failures"]}
    far = found.pop("far.txt", None)
    assert far is None or "2,000" in far or "name too long" in far
    assert {name: REASONS[name] for name in found if REASONS[name] not in found[name]} == {}, found
    assert set(found) == set(REASONS)
    assert report["unchanged"] == unchanged
    assert report["files"] == len(REASONS) + len(GOOD) + 1 + (far is not None)


def test_named_one_by_one(nasty: Path, tmp_path: Path) -> None:
    site = Site(tmp_path / "var")
    named = [nasty / "pipe.txt", nasty / "nowhere.txt", Path("/dev/zero"), tmp_path / "missing.md", nasty / "good.md"]
    report = site.json("ingest", *named, code=1)
    assert report["files"] == 5
    assert report["chunks"] == 1
    assert [failure["reason"][:24] for failure in report["failures"]] == [
        "It is not a file but a p",
        "It is a link that leads ",
        "It is not a file but a p",
        "There is no such file or",
    ]
    assert site.json("ingest", nasty / "empty.txt", code=1)["failures"][0]["reason"].endswith("is empty.")


def test_a_folder_without_permission(tmp_path: Path) -> None:
    shut, unreadable, docs = tmp_path / "docs" / "shut", tmp_path / "docs" / "unreadable.md", tmp_path / "docs"
    shut.mkdir(parents=True)
    (shut / "hidden.md").write_text("Nobody may read this.")
    unreadable.write_text("Nor this.")
    (docs / "open.md").write_text("Everybody may read this, about Mill Lane.")
    kept = tmp_path / "kept"
    kept.mkdir()
    for place, mode in ((shut, 0), (unreadable, 0), (kept, 0o500)):
        place.chmod(mode)
    try:
        done = _as_anybody(Site(tmp_path / "var"), "ingest", docs, shut / "hidden.md", "--json")
        assert done.returncode == 1, done.stderr
        assert '"chunks": 1' in done.stdout, done.stderr
        for what in ("folder", "file"):
            assert f"The {what} cannot be read (Permission denied)" in done.stdout
        for command in ("documents", "serve"):
            refused = _as_anybody(Site(kept), command)
            assert refused.returncode == 1
            assert "cannot be written" in refused.stderr
            assert "AEGIS_DATA_DIR" in refused.stderr
            assert "Traceback" not in refused.stderr
        said = _as_anybody(Site(kept), "doctor")
        assert said.returncode == 1
        assert "Data folder: cannot be written" in said.stdout
    finally:
        for place in (shut, unreadable, kept):
            place.chmod(0o700)


def _as_anybody(site: Site, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Without the right to read and write everything, which root has."""
    lowered: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("run as root this needs setpriv (util-linux)")
        lowered = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"]
    return subprocess.run(
        [*lowered, sys.executable, "-m", "aegis.cli", *map(str, arguments)],
        env=site.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _pdf_without_pages(file: Path) -> None:
    writer = pypdf.PdfWriter()
    with file.open("wb") as opened:
        writer.write(opened)


def _locked_pdf(file: Path) -> None:
    page = fpdf.FPDF()
    page.add_page()
    page.set_font("helvetica", size=12)
    page.cell(text="Locked away.")
    page.set_encryption(owner_password="owner", user_password="user")
    page.output(str(file))


# -- through HTTP


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[httpx.Client]:
    site = Site(tmp_path_factory.mktemp("http") / "var")
    with site.running() as client:
        finished(client, submit(client, {Path("/notes/good.md"): b"The ledger of Mill Lane lists 12 crates."}))
        yield client
        found = client.post("/api/v1/retrieval/search", json={"query": "ledger"}).json()["hits"]
        assert [hit["title"] for hit in found][:1] == ["good"], "something was lost on the way"
    assert "Traceback" not in site.said()


def test_files_of_one_form(server: httpx.Client, nasty: Path) -> None:
    names = ["empty.txt", "no-pages.pdf", "locked.pdf", "broken.pdf", "binary.txt", "program.md", "bomb.docx", *GOOD]
    done = finished(server, submit(server, {nasty / name: (nasty / name).read_bytes() for name in names}))
    assert done["state"] == "done"
    reasons = {failure["source"].rpartition("/")[2]: failure["reason"] for failure in done["failures"]}
    assert set(reasons) == set(names[:7])
    assert {name for name in reasons if REASONS[name] not in reasons[name]} == set()
    assert done["chunks"] == len(GOOD)


def test_300_mb_through_http(server: httpx.Client, nasty: Path) -> None:
    with (nasty / "huge.txt").open("rb") as huge:
        answer = server.post("/api/v1/retrieval/ingest", files={"files": ("huge.txt", huge)})
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "too_large"

    def endless() -> Generator[bytes]:
        head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\n'
        yield head
        for _ in range(300):
            yield b"x" * 1_000_000

    with suppress(httpx.TransportError):  # the server need not read to the end of what it refuses
        answer = server.post(
            "/api/v1/retrieval/ingest",
            content=endless(),
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )
        assert answer.status_code == 413
    assert server.get("/health").status_code == 200


BODIES = (
    b"",
    b"{",
    b'{"query": "a"',
    b'{"query": "\xff\xfe"}',
    b'{"query": "\\ud800"}',
    b'{"query": "a\\u0000b"}',
    b'{"query": NaN}',
    b'{"query": 1e999}',
    b'{"query": "a", "top_k": 1e400}',
    b'{"query": "a", "top_k": 123456789012345678901234567890}',
    b"[" * 100_000,
    b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    b'{"query": "a", "surprise": 1}',
    b'{"query": ["a"]}',
    b'"query"',
    b"null",
    b'{"query": "' + b"a" * 50_000 + b'"}',
    b'{"query": "' + b"a" * 2_000_000 + b'"}',
    b"\x00\x01\x02",
    '{"query": "a"}'.encode("utf-16"),
)


@pytest.mark.parametrize("path", ["/api/v1/retrieval/search", "/api/v1/chat", "/api/v1/retrieval/ingest"])
@pytest.mark.parametrize("body", BODIES, ids=lambda body: f"{len(body)}-{body[:12]!r}")
def test_bodies_that_are_no_question(server: httpx.Client, path: str, body: bytes) -> None:
    if path.endswith("chat"):
        body = body.replace(b'"query"', b'"question"')
    answer = server.post(path, content=body, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500, answer.text
    error = answer.json()["error"]
    assert error["message"]
    assert len(answer.content) < 5000  # what was sent is not sent back


def test_50_000_characters(server: httpx.Client) -> None:
    question = "Which ledger lists crates? " * 1852
    for path, field in (
        ("/api/v1/chat", "question"),
        ("/api/v1/chat/stream", "question"),
        ("/api/v1/retrieval/search", "query"),
    ):
        answer = server.post(path, json={field: question})
        assert answer.status_code == 413
        assert "50,004 characters; at most 8,000" in answer.json()["error"]["message"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\nb.txt", "‮txt.exe", "a" * 3000, "", "\x00.txt", "con.txt"])
def test_names_of_uploads(server: httpx.Client, name: str) -> None:
    answer = server.post(
        "/api/v1/retrieval/ingest",
        files={"files": ("x.txt", b"A name is only a name, at North Quay.")},
        data={"source": name},
    )
    if answer.status_code == 202:
        assert finished(server, answer.json()["job_id"])["failures"] == []
    else:
        assert answer.status_code in (413, 422), answer.text
        assert answer.json()["error"]["message"]
