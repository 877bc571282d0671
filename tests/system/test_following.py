"""`aegis ingest` on a folder that changes: what is gone is removed when asked, and `--watch` keeps up."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx

from evals.bench.server import ROOT
from tests.system.application import Site, eventually


def titles(client: httpx.Client) -> set[str]:
    return {entry["source"].rpartition("/")[2] for entry in client.get("/api/v1/documents").json()["documents"]}


def test_what_is_gone_is_removed_when_asked_and_a_watched_folder_is_followed(tmp_path: Path) -> None:
    site, folder, other = Site(tmp_path / "var"), tmp_path / "notes", tmp_path / "other"
    for place in (folder, other):
        place.mkdir()
        for name in ("a.md", "b.md"):
            (place / name).write_text(f"# {name}\n\nA note in {place.name} about {name}.")
    with site.running() as client:
        site.json("ingest", folder, other)
        (folder / "b.md").unlink()
        (folder / "c.md").write_text("# C\n\nA third note.")
        assert site.json("ingest", folder)["removed"] == []
        assert len(client.get("/api/v1/documents").json()["documents"]) == 5
        pruned = site.json("ingest", folder, "--prune")
        assert pruned["removed"] == [(folder / "b.md").as_uri()]
        (other / "a.md").unlink()
        moved = other.rename(tmp_path / "unmounted")
        assert site.json("ingest", other, "--prune", code=1)["removed"] == []  # the whole folder is not there
        moved.rename(other)

        command = [sys.executable, "-m", "aegis.cli", "ingest", str(folder), "--watch", "--prune"]
        log = (tmp_path / "watch.log").open("wb")
        watching = subprocess.Popen(command, env=site.environment(), cwd=ROOT, stdout=log, stderr=log)
        try:
            eventually(lambda: "Watching" in (tmp_path / "watch.log").read_text())
            (folder / "d.md").write_text("# D\n\nWritten while somebody watches.")
            (folder / ".hidden.md").write_text("# Hidden\n\nNobody's business.")
            (folder / "c.md").unlink()
            eventually(lambda: titles(client) == {"a.md", "b.md", "d.md"}, 40)
            (folder / "a.md").write_text("# A\n\nNow about quinces.")
            eventually(
                lambda: "quinces" in str(client.post("/api/v1/retrieval/search", json={"query": "quinces"}).json()), 40
            )
            watching.send_signal(signal.SIGINT)
            assert watching.wait(20) == 0
        finally:
            watching.kill()
            watching.wait()
            log.close()
