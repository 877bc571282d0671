"""Chainlit's folder: made in the data folder, its secret kept and kept private."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from aegis.errors import DataFolderError
from ui import root


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `prepare` sets is taken back after each test."""
    for name in list(os.environ):
        if name.startswith("CHAINLIT_"):
            monkeypatch.setenv(name, os.environ[name])


def test_the_secret_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    root.prepare(tmp_path)
    secret, cookie = os.environ["CHAINLIT_AUTH_SECRET"], os.environ["CHAINLIT_AUTH_COOKIE_NAME"]
    root.prepare(tmp_path)
    assert os.environ["CHAINLIT_AUTH_SECRET"] == secret
    assert len(secret) >= 32
    assert secret not in cookie
    if os.name == "posix":
        assert (tmp_path / root.SECRET_FILE).stat().st_mode & 0o777 == 0o600


def test_every_data_folder_has_its_own(tmp_path: Path) -> None:
    root.prepare(tmp_path / "one")
    first = os.environ["CHAINLIT_AUTH_SECRET"], os.environ["CHAINLIT_AUTH_COOKIE_NAME"]
    root.prepare(tmp_path / "two")
    assert os.environ["CHAINLIT_AUTH_SECRET"] != first[0]
    assert os.environ["CHAINLIT_AUTH_COOKIE_NAME"] != first[1]


def test_a_secret_cut_short_is_made_anew(tmp_path: Path) -> None:
    tmp_path.joinpath(root.SECRET_FILE).write_text("")
    root.prepare(tmp_path)
    assert len(os.environ["CHAINLIT_AUTH_SECRET"]) >= 32


def test_our_words_stand_among_chainlits(tmp_path: Path) -> None:
    folder = root.prepare(tmp_path)
    words = json.loads((folder / ".chainlit" / "translations" / "en-US.json").read_text(encoding="utf-8"))
    assert words["chat"]["messages"]["status"]["used"] == ""
    assert words["common"]["actions"]["cancel"] == "Cancel"


def test_uploads_that_a_crash_left_go_after_a_day(tmp_path: Path) -> None:
    folder = root.prepare(tmp_path)
    old, new = folder / ".files" / "old", folder / ".files" / "new"
    for left in (old, new):
        left.mkdir(parents=True)
        (left / "file").write_text("x")
    long_ago = time.time() - 2 * root.STALE_SECONDS
    os.utime(old, (long_ago, long_ago))
    root.prepare(tmp_path)
    assert not old.exists()
    assert new.exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataFolderError, match="AEGIS_DATA_DIR"):
        root.prepare(tmp_path / "file")
