"""A real Neo4j 5.26 Community on a free loopback port: its Maven artifacts and a main of a dozen lines.

Needs a JDK (17 or later) and, the first time, Maven. The jars (about 120 MB) are kept in the cache folder.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import ServerMissing, alone, cache_folder, free_port

VARIABLE = "AEGIS_TEST_NEO4J_URL"
VERSION = "5.26.0"
START_SECONDS = 90

_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>aegis.test</groupId><artifactId>neo4j-server</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.neo4j</groupId><artifactId>neo4j</artifactId><version>{VERSION}</version></dependency>
    <dependency><groupId>org.neo4j</groupId><artifactId>neo4j-bolt</artifactId><version>{VERSION}</version></dependency>
  </dependencies>
</project>
"""


@contextmanager
def running_neo4j(port: int | None = None, folder: Path | None = None) -> Generator[str]:
    """Its Bolt address. Raises ServerMissing without Java, or without the jars and Maven.

    A port and a folder may be given, to start the same server again.
    """
    java = shutil.which("java")
    if java is None or shutil.which("javac") is None:
        raise ServerMissing("Neo4j needs a JDK, 17 or later (Debian: apt-get install openjdk-17-jdk-headless).")
    jars = _jars()
    chosen = port or free_port()
    data = folder or Path(tempfile.mkdtemp(prefix="aegis-neo4j-"))
    command = [
        java, "-Xmx512m",
        "--add-opens=java.base/java.nio=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED",
        "-cp", f"{jars}/*", str(Path(__file__).with_name("Neo4jServer.java")), str(data), str(chosen),
    ]  # fmt: skip
    log = data / "starter.log"
    with log.open("w") as errors:
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        _await_ready(server, log)
        yield f"bolt://127.0.0.1:{chosen}"
    finally:
        if folder is None:  # nobody will read its files again
            server.kill()
        _stop(server)
        if folder is None:
            shutil.rmtree(data, ignore_errors=True)


def _jars() -> Path:
    """The folder of the jars, fetched once; complete or not there."""
    folder = cache_folder("neo4j")
    jars = folder / VERSION
    with alone(folder):
        if not jars.is_dir():
            _fetch(folder, jars)
    return jars


def _fetch(folder: Path, jars: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise ServerMissing("Neo4j's jars are fetched with Maven (Debian: apt-get install maven).")
    with tempfile.TemporaryDirectory(dir=folder) as work:
        (Path(work) / "pom.xml").write_text(_POM)
        fetch = [maven, "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={work}/lib"]
        done = subprocess.run(fetch, cwd=work, capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            raise ServerMissing(f"Maven could not fetch Neo4j: {done.stdout[-500:]}")
        (Path(work) / "lib").rename(jars)


def _await_ready(server: subprocess.Popen[str], log: Path) -> None:
    """Wait for the line that says so; afterwards a thread keeps reading, so that the pipe never fills."""
    ready = threading.Event()

    def read() -> None:
        for line in server.stdout or ():
            if line.strip() == "ready":
                ready.set()

    threading.Thread(target=read, daemon=True).start()
    until = time.monotonic() + START_SECONDS
    while not ready.wait(0.1):
        if server.poll() is not None or time.monotonic() > until:
            raise ServerMissing(f"Neo4j did not start: {log.read_text()[-500:]}")


def _stop(server: subprocess.Popen[str]) -> None:
    if server.stdin is not None:
        server.stdin.close()
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    if server.stdout is not None:
        server.stdout.close()
