"""Nothing leaves the machine: all of it works without a network, and nobody even tries to reach one."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from evals.bench.server import ROOT
from tests.system.application import Site

SAMPLES = {"AEGIS_INGESTION__SAMPLES": "yes"}
WATCHED_SECONDS = 120
LOCAL = re.compile(r'inet_addr\("127\.|inet_pton\(AF_INET6, "::1"|inet_pton\(AF_INET6, "::ffff:127\.')
# A name look-up is a packet to port 53, or a question to the system's own resolver or cache.
RESOLVERS = re.compile(r"htons\(53\)|htons\(5353\)|/nscd/|/systemd/resolve|\.varlink|avahi")
CALLS = ("connect(", "sendto(", "sendmsg(", "sendmmsg(")

pytestmark = pytest.mark.servers


def attempts(trace: str) -> Iterator[str]:
    """Lines of a strace that reach, or ask for, anything but this machine. Kernel queries (AF_NETLINK) are none."""
    for line in trace.splitlines():
        if not any(call in line for call in CALLS):
            continue
        outside = "sa_family=AF_INET" in line and not LOCAL.search(line)
        if outside or RESOLVERS.search(line):
            yield line


def test_what_counts_as_an_attempt() -> None:
    def counted(line: str) -> bool:
        return bool(list(attempts(line)))

    far = 'connect(9, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("1.2.3.4")}, 16) = -1'
    assert counted(far)
    assert counted(far.replace("443", "53").replace("1.2.3.4", "127.0.0.53"))
    assert counted('sendto(9, "x", 1, 0, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("8.8.8.8")}, 16)')
    assert counted('connect(9, {sa_family=AF_INET6, inet_pton(AF_INET6, "2001:db8::1", &sin6_addr)}, 28) = 0')
    assert counted('connect(9, {sa_family=AF_UNIX, sun_path="/run/nscd/socket"}, 110) = -1 ENOENT')
    assert not counted(far.replace("1.2.3.4", "127.0.0.1"))
    assert not counted('sendto(5, "\\0", 1, 0, NULL, 0) = 1')


def strace() -> str:
    found = shutil.which("strace")
    if found is None:
        pytest.skip("strace is not installed (Debian: apt install strace)")
    tried = subprocess.run([found, "-qq", "-e", "trace=none", "true"], check=False, capture_output=True)
    if tried.returncode != 0:
        pytest.skip("strace may not trace here (ptrace is forbidden)")
    return found


def ask(site: Site, *, page: bool) -> None:
    with site.client() as client:
        answer = client.post("/api/v1/chat", json={"question": "What is reciprocal rank fusion?"})
        assert answer.status_code == 200, answer.text
        found = client.post("/api/v1/retrieval/search", json={"query": "rank fusion"})
        assert found.status_code == 200, found.text
        body = {"documents": [{"source": "note.md", "text": "# Note\n\nThe kettle is in the third drawer."}]}
        assert client.post("/api/v1/retrieval/ingest", json=body).status_code == 202
        if page:
            assert client.get("/chat").status_code == 200
            assert "0" in client.get("/chat/ws/socket.io/?EIO=4&transport=polling").text[:1]


@pytest.mark.parametrize("command", ["serve", "studio"])
def test_nobody_tries_to_leave_the_machine(tmp_path: Path, command: str) -> None:
    """All processes, from their start, through questions, for two minutes. The model server is looked for as set."""
    if command == "studio":
        pytest.importorskip("langgraph_cli", reason="the extra `studio` is not installed")
    site = Site(tmp_path / "var", SAMPLES)
    trace = tmp_path / "trace"
    traced = [strace(), "-f", "-qq", "-s", "200", "-e", "trace=%network", "-o", str(trace)]
    with site.log.open("ab") as log:
        site.process = subprocess.Popen(
            [*traced, sys.executable, "-m", "aegis.cli", command],
            env=site.environment(),
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
    try:
        until = time.monotonic() + WATCHED_SECONDS
        site.wait_ready()
        ask(site, page=command == "serve")
        time.sleep(max(0.0, until - time.monotonic()))
        for child in site.children("aegis.cli") or site.children("langgraph_cli"):
            child.send_signal(signal.SIGINT)
        site.process.wait(60)
    finally:
        site.kill()
    text = trace.read_text("utf-8", "replace")
    assert "connect(" in text  # the model server was looked for on loopback: the trace is not empty
    assert list(attempts(text)) == []


def unshared(script: str, site: Site) -> subprocess.CompletedProcess[str]:
    """In a network namespace that has nothing but loopback."""
    unshare = shutil.which("unshare")
    if unshare is None or shutil.which("ip") is None:
        pytest.skip("unshare or ip is not installed (Debian: apt install util-linux iproute2)")
    tried = subprocess.run([unshare, "-n", "ip", "link", "set", "lo", "up"], check=False, capture_output=True)
    if tried.returncode != 0:
        pytest.skip("a network namespace needs root (unshare -n)")
    command = [unshare, "-n", "sh", "-c", 'ip link set lo up && exec "$0" -c "$1"', sys.executable, script]
    return subprocess.run(
        command, env=site.environment(), cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


INSIDE = """
import socket
from pathlib import Path
from tests.system.application import Site
from tests.system.test_offline import ask, SAMPLES
try:
    socket.create_connection(("192.0.2.1", 80), 2)
    raise SystemExit("the network is not cut off")
except OSError:
    pass
site = Site(Path({folder!r}), SAMPLES)
with site.running() as client:
    file = Path({folder!r}).parent / "drawer.md"
    file.write_text("# Drawers\\n\\nThe corkscrew lives in the top drawer.")
    for command in (("ingest", file), ("search", "corkscrew"), ("ask", "Where does the corkscrew live?")):
        done = site.cli(*command)
        assert done.returncode == 0, done.stderr
    assert "top drawer" in done.stdout, done.stdout
    ask(site, page=True)
    from websockets.sync.client import connect
    with connect(site.url.replace("http", "ws") + "/chat/ws/socket.io/?EIO=4&transport=websocket") as socket:
        assert socket.recv(timeout=10).startswith("0")
print("all of it works")
"""

INSIDE_STUDIO = """
from pathlib import Path
from tests.system.application import Site
from tests.system.test_offline import ask, SAMPLES
from tests.system.test_studio import run, studio
site = Site(Path({folder!r}), SAMPLES)
with studio(site):
    ask(site, page=False)
    with site.client() as client:
        assert run(client, "Hello!")["answer"]
print("all of it works")
"""


@pytest.mark.parametrize("script", [INSIDE, INSIDE_STUDIO], ids=["serve", "studio"])
def test_all_of_it_works_without_a_network(tmp_path: Path, script: str) -> None:
    if script is INSIDE_STUDIO:
        pytest.importorskip("langgraph_cli", reason="the extra `studio` is not installed")
    site = Site(tmp_path / "var", {"PYTHONDONTWRITEBYTECODE": os.environ.get("PYTHONDONTWRITEBYTECODE", "")})
    done = unshared(script.format(folder=str(site.folder)), site)
    assert done.returncode == 0, done.stdout + done.stderr + site.said()[-3000:]
    assert "all of it works" in done.stdout
